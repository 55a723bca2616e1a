"""The command line against the real services; the recognizer is the one without weights."""

import io
import json
import math
import shutil
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
import srt

from stenograf import cli
from stenograf.cli import run
from stenograf.contract.transcript import Transcript
from stenograf.services import Services, running


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with running({"ENGINE": "fake"}) as both:
        yield both


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    samples = Path(__file__).resolve().parents[2] / "data" / "samples"
    return Path(shutil.copy(samples / "call_ru.flac", tmp_path / "speech.flac"))


def wav(seconds: float, amplitude: float) -> bytes:
    """A hum that rises and falls four times a second."""
    count = round(seconds * 16_000)
    samples = (
        amplitude * math.sin(0.07 * i) * abs(math.sin(math.tau * 2 * i / 16_000))
        for i in range(count)
    )
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{count}h", *(round(32_767 * s) for s in samples)))
    return body.getvalue()


def test_silence_is_an_empty_transcript_with_a_reason(
    services: Services, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "тишина.wav"
    path.write_bytes(wav(3, 0.0))
    words = ["transcribe", str(path), "--backend", services.backend.url]
    assert run([*words, "--format", "json"]) == cli.OK
    transcript = Transcript.model_validate(json.loads(capfd.readouterr().out))
    assert transcript.text == ""
    assert transcript.duration_s == 3.0
    assert transcript.warnings[-1].code == "no_speech"


@pytest.mark.parametrize("body", [b"", b"this is not a recording", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_recording_is_4_with_a_sentence(
    services: Services, tmp_path: Path, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(body)
    assert run(["transcribe", str(path), "--backend", services.backend.url]) == cli.UNREADABLE
    out, err = capfd.readouterr()
    assert out == ""
    assert "talk.mp3: " in err


def test_every_format_arrives(services: Services, tmp_path: Path, speech: Path) -> None:
    for format in ("txt", "json", "verbose_json", "srt", "vtt", "tsv"):
        target = tmp_path / format
        words = ["transcribe", str(speech), "--format", format, "--output", str(target)]
        assert run([*words, "--backend", services.backend.url]) == cli.OK
    assert len(list(srt.parse((tmp_path / "srt" / "speech.srt").read_text()))) >= 1
    assert (tmp_path / "vtt" / "speech.vtt").read_text().startswith("WEBVTT\n\n")
    assert json.loads((tmp_path / "verbose_json" / "speech.json").read_bytes())["words"]


def test_doctor_finds_everything_ready(
    services: Services, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", "--backend", services.backend.url, "--llm", services.llm.url]
    assert run(words) == cli.OK
    assert capfd.readouterr().out.count("ready") == 2
