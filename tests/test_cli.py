import base64
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from stenograf import cli
from stenograf.cli import run
from stenograf.client import Client
from stenograf.contract.errors import (
    ModelNotReady,
    NotFinished,
    Overloaded,
    Unavailable,
    UndecodableAudio,
)
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions
from stenograf.sender import PART_BYTES, Sender

from .scripted_backend import Script, scripted_backend
from .servers import hearing_ctrl_c
from .waiting import until

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with scripted_backend(script) as root:
        yield root


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "Запись 1.wav"
    path.write_bytes(os.urandom(300_000))
    return path


def test_prints_the_transcript_and_sends_every_byte(
    script: Script, url: str, recording: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["transcribe", str(recording), "--backend", url]) == cli.OK
    out, err = capfdbinary.readouterr()
    assert out.decode() == "Привет, мир.\n"
    assert err == b""
    assert bytes(script.uploads["u0"]) == recording.read_bytes()
    name = base64.b64decode(script.names[0].removeprefix("filename ")).decode()
    assert name == "Запись 1.wav"


def test_options_reach_the_job(script: Script, url: str, recording: Path) -> None:
    words = ["transcribe", str(recording), "--backend", url, "--language", "English"]
    assert run([*words, "--normalize", "lufs", "--prompt", "Тверь"]) == cli.OK
    asked = TranscribeOptions.model_validate(script.options[0])
    assert asked.decode.language == "en"
    assert asked.decode.prompt == "Тверь"
    assert asked.normalize.method == "lufs"


def test_writes_one_file_for_each_recording(
    url: str, recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    twin = recording.with_suffix(".mp3")
    twin.write_bytes(b"1")
    target = tmp_path / "out" / "deep"
    words = ["transcribe", str(recording), str(twin), "--format", "srt", "--output", str(target)]
    assert run([*words, "--backend", url]) == cli.OK
    assert sorted(path.name for path in target.iterdir()) == ["Запись 1.mp3.srt", "Запись 1.srt"]
    assert "Привет, мир." in (target / "Запись 1.srt").read_text()
    assert capfd.readouterr().out == ""


def test_several_texts_carry_their_names(
    url: str, recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", str(recording), str(recording), "--backend", url]) == cli.OK
    assert capfd.readouterr().out == f"==> {recording} <==\nПривет, мир.\n" * 2


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["transcribe"],
        ["transcribe", "a.wav", "--format", "docx"],
        ["transcribe", "a.wav", "--normalize", "loud"],
        ["transcribe", "a.wav", "--language", "klingon"],
        ["transcribe", "a.wav", "--prompt", "x" * 3000],
        ["transcribe", "a.wav", "--backend", "ftp://x"],
        ["transcribe", "a.wav", "b.wav", "--format", "srt"],
        ["transcribe", "a.wav", "--output", "/dev/null/x"],
        ["sing"],
    ],
)
def test_wrong_usage_is_2_with_a_sentence(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == cli.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err


def test_help_and_version_are_no_errors(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == run(["transcribe", "--help"]) == run(["--version"]) == cli.OK
    assert "--normalize" in capfd.readouterr().out


def test_nobody_there_is_3_at_once(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert run(["transcribe", str(recording), "--backend", NOBODY]) == cli.UNREACHABLE
    assert time.monotonic() - began < 30
    assert "cannot be reached" in capfd.readouterr().err


def test_a_missing_file_is_4(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["transcribe", "nothing.wav", "--backend", url]) == cli.UNREADABLE
    assert "No such file" in capfd.readouterr().err


def failed(script: Script) -> None:
    script.ending = JobStatus.FAILED
    script.error = UndecodableAudio("No sound in there.", hint="Is it a recording?")


def test_a_recording_nobody_can_read_is_4(
    script: Script, url: str, recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failed(script)
    assert run(["transcribe", str(recording), "--backend", url]) == cli.UNREADABLE
    assert "No sound in there. Is it a recording?" in capfd.readouterr().err


def test_one_bad_file_among_good_ones_is_1(url: str, recording: Path) -> None:
    words = ["transcribe", "nothing.wav", str(recording), "--backend", url]
    assert run(words) == cli.SOME_FAILED


def test_a_job_that_failed_for_lack_of_a_model_is_1_not_3(
    script: Script, url: str, recording: Path
) -> None:
    script.ending, script.error = JobStatus.FAILED, ModelNotReady("The model could not be loaded.")
    assert run(["transcribe", str(recording), "--backend", url]) == cli.SOME_FAILED


def test_a_job_cancelled_by_somebody_else_is_1(script: Script, url: str, recording: Path) -> None:
    script.ending = JobStatus.CANCELLED
    assert run(["transcribe", str(recording), "--backend", url]) == cli.SOME_FAILED


def test_a_full_queue_is_waited_for(script: Script, url: str, recording: Path) -> None:
    script.refuse = deque([Overloaded("Full.", retry_after_s=1)] * 2)
    assert run(["transcribe", str(recording), "--backend", url]) == cli.OK
    assert script.count("POST", "/v1/jobs") == 3
    assert script.count("POST", "/files") == 1


def test_lost_connections_are_resumed_where_the_server_stopped(
    script: Script, url: str, recording: Path
) -> None:
    script.drop_patches = 3
    Sender(url).send(recording)
    assert bytes(script.uploads["u0"]) == recording.read_bytes()
    assert script.count("POST", "/files") == 1


def test_an_upload_cut_off_by_a_crash_goes_on_in_the_next_process(
    script: Script, url: str, recording: Path, tmp_path: Path
) -> None:
    sender = Sender(url, tmp_path / "memory", patience_s=0.0)
    script.drop_patches = 1
    with pytest.raises(Unavailable):
        sender.send(recording)
    half = len(script.uploads["u0"])
    assert 0 < half < 300_000
    assert Sender(url, tmp_path / "memory").send(recording) == "u0"
    assert bytes(script.uploads["u0"]) == recording.read_bytes()
    assert script.count("POST", "/files") == 1


def test_a_forgotten_upload_starts_again(
    script: Script, url: str, recording: Path, tmp_path: Path
) -> None:
    sender = Sender(url, tmp_path / "memory")
    assert sender.send(recording) == "u0"
    del script.uploads["u0"]
    script.uploads["other"] = bytearray()
    assert sender.send(recording) == "u1"
    sender.forget(recording)
    assert list((tmp_path / "memory").iterdir()) == []


def test_a_changed_file_is_a_new_upload(
    script: Script, url: str, recording: Path, tmp_path: Path
) -> None:
    sender = Sender(url, tmp_path / "memory")
    sender.send(recording)
    recording.write_bytes(b"other")
    assert sender.send(recording) == "u1"
    assert bytes(script.uploads["u1"]) == b"other"


def test_big_files_go_in_parts_and_report_every_step(
    script: Script, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "big.wav"
    with path.open("wb") as file:
        file.truncate(PART_BYTES + 1000)
    seen: list[int] = []
    Sender(url).send(path, lambda sent, _total: seen.append(sent))
    assert script.count("PATCH", "/files/u0") == 2
    assert seen == sorted(seen)
    assert seen[-1] == len(script.uploads["u0"]) == PART_BYTES + 1000


def test_an_empty_file_is_sent_as_it_is(script: Script, url: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert Sender(url).send(path) == "u0"
    assert script.lengths["u0"] == 0


def test_a_file_that_shrinks_meanwhile_is_the_files_fault(url: str, recording: Path) -> None:
    def shrink(sent: int, _total: int) -> None:
        if sent > 0:
            recording.write_bytes(b"short")

    with pytest.raises(OSError, match="became shorter"):
        Sender(url).send(recording, shrink)


def test_the_client_says_what_the_server_says(url: str, script: Script, recording: Path) -> None:
    script.refuse = deque([NotFinished("The upload is not finished.")])
    with pytest.raises(NotFinished, match="not finished"):
        Client(url).submit(recording, TranscribeOptions())


def start(words: list[str], **streams: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stenograf.cli", *words]
    with hearing_ctrl_c():
        return subprocess.Popen(command, stdout=subprocess.PIPE, **streams)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_cancels_the_job_and_is_130(
    script: Script, url: str, recording: Path, number: signal.Signals
) -> None:
    script.ending = None
    process = start(["transcribe", str(recording), "--backend", url], stderr=subprocess.PIPE)
    until(lambda: script.polled > 2, 90)
    process.send_signal(number)
    out, err = process.communicate(timeout=90)
    assert process.returncode == cli.INTERRUPTED
    assert script.count("DELETE", "/v1/jobs/job1") == 1
    assert out == b""
    assert b"Traceback" not in err


@pytest.mark.parametrize(("flags", "drawn"), [([], True), (["--quiet"], False)])
def test_bars_are_drawn_on_a_terminal_only(
    url: str, recording: Path, flags: list[str], drawn: bool
) -> None:
    master, slave = pty.openpty()
    process = start(["transcribe", str(recording), "--backend", url, *flags], stderr=slave)
    os.close(slave)
    out, _ = process.communicate(timeout=90)
    shown = _drain(master)
    assert out.decode() == "Привет, мир.\n"
    assert ("█" in shown) is drawn
    assert ("0:03 of 0:12 of speech, 0:09 left" in shown) is drawn


def _drain(master: int) -> str:
    body = b""
    try:
        while piece := os.read(master, 65_536):
            body += piece
    except OSError:
        pass  # how Linux says that the other end is closed
    finally:
        os.close(master)
    return body.decode()


def test_doctor_shows_services_and_model(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--backend", url, "--llm", url]) == cli.OK
    out = capfd.readouterr().out
    assert "1.2.3  ready" in out
    assert "demo, dtype float32, device cpu, the small demo model" in out


def test_doctor_tells_what_is_missing(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--backend", url, "--llm", NOBODY]) == cli.SOME_FAILED
    assert run(["doctor", "--backend", NOBODY, "--llm", url]) == cli.UNREACHABLE
    assert capfd.readouterr().out.count("does not answer") == 2


def test_the_command_line_loads_no_weights_and_no_page() -> None:
    probe = "import sys, json, stenograf.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", probe]))
    heavy = {"torch", "transformers", "streamlit", "fastapi", "sqlalchemy", "scipy"}
    assert not heavy.intersection(loaded)
