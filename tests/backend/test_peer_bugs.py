"""What other servers get wrong, tried at our front doors with a real model behind them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jiwer
import numpy as np
import openai
import pytest
import soundfile
import srt
import webvtt

from stenograf.contract.pcm import SAMPLE_RATE, wav_bytes

from ..servers import SAMPLES, Process, backend_process, llm_process
from .desk import Desk

Ask = Callable[..., Any]
URL = "/v1/audio/transcriptions"
PHRASES = ("extension_ru", "balance_ru", "order_number_ru")
PAUSE_S = 3.0
MAX_BODY_BYTES = 4_000_000


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process) -> Iterator[Process]:
    limits = {"MAX_UPLOAD_BYTES": str(MAX_BODY_BYTES), "ANSWER_START_S": "20"}
    folder = tmp_path_factory.mktemp("backend")
    with backend_process(folder, embedded_llm.url, **limits) as process:
        yield process


@pytest.fixture(scope="module")
def fake_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A model that hears half seconds of sound: its times tell where each window lies."""
    with llm_process(tmp_path_factory.mktemp("fake"), ENGINE="fake") as process:
        yield process


@pytest.fixture(params=["backend", "model service"])
def ask_fake(request: pytest.FixtureRequest, fake_llm: Process, tmp_path: Path) -> Iterator[Ask]:
    """Posts to one of the two services, with that model."""
    if request.param == "model service":
        yield lambda body, **fields: post(fake_llm.url, body, **fields)
        return
    with Desk(tmp_path, fake_llm.url, answer_start_s=60) as desk:
        yield lambda body, **fields: desk.http.post(
            URL, data={"vad": "false"} | fields, files={"file": ("a.wav", body)}
        )


@pytest.fixture(params=["backend", "model service"])
def root(request: pytest.FixtureRequest, backend: Process, embedded_llm: Process) -> str:
    """Both services that answer OpenAI's calls."""
    return (backend if request.param == "backend" else embedded_llm).url


def heard_of(name: str) -> str:
    """The reference text of a sample."""
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def sample(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    waveform, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")
    assert rate == SAMPLE_RATE
    return np.asarray(waveform, np.float32)


def spliced(repeats: int) -> bytes:
    """Samples behind pauses, more than one window in all."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    pieces = [piece for name in PHRASES * repeats for piece in (pause, sample(name))]
    return wav_bytes(np.concatenate(pieces))


def post(root: str, body: bytes, **fields: Any) -> httpx.Response:
    fields = {name.replace("__", "[]"): value for name, value in fields.items()}
    return httpx.post(root + URL, data=fields, files={"file": ("запись 1.wav", body)}, timeout=120)


def wer(text: str, reference: str) -> float:
    plain = [" ".join("".join(c for c in t.lower() if c.isalnum() or c == " ").split()) for t in
             (reference, text)]  # fmt: skip
    return float(jiwer.wer(plain[0], plain[1]))


def test_b1_b2_a_stream_ends_with_its_text_and_logs_no_error(
    backend: Process, embedded_llm: Process
) -> None:
    for process in (backend, embedded_llm):
        before = len(process.log.read_text(errors="replace"))
        with openai.OpenAI(base_url=f"{process.url}/v1", api_key="x", max_retries=0) as client:
            events: list[Any] = list(
                client.audio.transcriptions.create(
                    file=SAMPLES / "balance_ru.flac",
                    model="gpt-4o-transcribe",
                    stream=True,
                    include=["logprobs"],
                )
            )
        done = events[-1]
        assert done.type == "transcript.text.done"
        assert "".join(event.delta for event in events[:-1]) == done.text
        assert wer(done.text, heard_of("balance_ru")) < 0.4
        assert done.usage.output_tokens > 0
        written = b"".join(bytes(token.bytes) for token in done.logprobs).decode()
        assert written.split() == done.text.split()
        assert {token.logprob for token in done.logprobs} != {0.0}
        assert all(token.logprob <= 0 for token in done.logprobs)
        assert "ERROR" not in process.log.read_text(errors="replace")[before:]


def test_b3_b11_a_wrong_or_unusual_field_is_neither_a_crash_nor_ignored(root: str) -> None:
    body = wav_bytes(sample("extension_ru"))
    wrong = post(root, body, response_format="verbose_json", timestamp_granularities__="letter")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "timestamp_granularities[]")
    unasked = post(root, body, timestamp_granularities__="word")
    assert unasked.status_code == 400
    plain = post(root, body, response_format="verbose_json", timestamp_granularities="word")
    assert plain.json()["words"], "the name without brackets counts too"
    assert "segments" not in plain.json()
    text = post(root, body, response_format="text", nonsense="1")
    assert text.text.endswith("\n")
    assert wer(text.text, heard_of("extension_ru")) < 0.4


def bursts(length_s: int) -> tuple[bytes, range]:
    """Two seconds of sound every nine, and the second at which each begins."""
    sound = np.zeros(length_s * SAMPLE_RATE, np.float32)
    starts = range(4, length_s, 9)
    for start_s in starts:
        sound[start_s * SAMPLE_RATE : (start_s + 2) * SAMPLE_RATE] = 0.1
    return wav_bytes(sound), starts


def test_b4_b5_b16_b18_subtitles_are_files_with_short_cues_and_true_starts(ask_fake: Ask) -> None:
    body, starts = bursts(70)
    for format, reader in (("srt", _read_srt), ("vtt", _read_vtt)):
        answer = ask_fake(body, response_format=format)
        assert answer.headers["content-type"].startswith("text/")
        cues = reader(answer.text)
        assert len(cues) == len(starts)
        for (start_s, end_s, text), true_start_s in zip(cues, starts, strict=True):
            assert abs(start_s - true_start_s) <= 0.5, "the first one not at the file's beginning"
            assert 0.799 < end_s - start_s <= 7.0
            assert text == text.strip()
            assert all(len(line) <= 42 for line in text.splitlines())


def test_b22_times_do_not_drift_from_window_to_window(ask_fake: Ask) -> None:
    body, starts = bursts(190)
    answer = ask_fake(body, response_format="verbose_json").json()
    found = [segment["start"] for segment in answer["segments"]]
    assert len(found) >= len(starts)
    for start_s in starts:
        assert min(abs(start_s - segment_s) for segment_s in found) <= 0.5


def _read_srt(body: str) -> list[tuple[float, float, str]]:
    return [
        (cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in srt.parse(body)
    ]


def _read_vtt(body: str) -> list[tuple[float, float, str]]:
    assert body.startswith("WEBVTT\n\n")
    return [
        (_moment_s(cue.start), _moment_s(cue.end), cue.text) for cue in webvtt.from_string(body)
    ]


def _moment_s(written: str) -> float:
    hours, minutes, seconds = written.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_b7_b17_b22_verbose_json_is_true_to_its_types_and_to_time(root: str) -> None:
    body = spliced(2)
    answer = post(
        root, body, response_format="verbose_json", timestamp_granularities__=["word", "segment"]
    ).json()
    assert answer["language"] == "russian"
    length_s = (len(body) - 44) / 2 / SAMPLE_RATE
    assert length_s > 30, "more than one window"
    assert answer["duration"] == pytest.approx(length_s, abs=0.01)
    segments, words = answer["segments"], answer["words"]
    assert " ".join(word["word"] for word in words).split() == answer["text"].split()
    assert " ".join(s["text"].strip() for s in segments) == answer["text"]
    for earlier, later in pairwise([*segments]):
        assert earlier["end"] <= later["start"]
    assert all(segment["tokens"] for segment in segments)
    assert len({segment["avg_logprob"] for segment in segments}) > 1, "measured, not made up"
    assert all(segment["avg_logprob"] < 0 for segment in segments)


def test_b7_the_language_is_detected_and_named(root: str) -> None:
    answer = post(root, wav_bytes(sample("balance_ru")), response_format="verbose_json").json()
    assert answer["language"] == "russian"


def test_b12_health_does_not_wait_for_a_long_file(backend: Process) -> None:
    noise = np.random.default_rng(3).normal(0, 0.01, 110 * SAMPLE_RATE).astype(np.float32)
    body = wav_bytes(noise)
    answers: list[httpx.Response] = []
    work = threading.Thread(target=lambda: answers.append(post(backend.url, body)))
    waits_s: list[float] = []
    work.start()
    with httpx.Client() as client:
        began = time.monotonic()
        while work.is_alive():
            started = time.monotonic()
            assert client.get(f"{backend.url}/health", timeout=60).status_code == 200
            waits_s.append(time.monotonic() - started)
            time.sleep(0.02)
    total_s = time.monotonic() - began
    print(f"/health: {len(waits_s)} asked, slowest {max(waits_s) * 1000:.0f} ms")
    assert answers[0].status_code == 200
    assert sorted(waits_s)[len(waits_s) * 9 // 10] < max(1.0, total_s / 4)


def test_b13_a_body_that_is_too_large_is_refused_while_it_comes(backend: Process) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(4_000):
            yield bytes(65_536)

    assert post(backend.url, wav_bytes(sample("extension_ru"))).status_code == 200
    before = peak_bytes(backend)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(backend.url + URL, content=endless(), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert peak_bytes(backend) - before < 32 * 1024**2, "of 250 MiB"
    assert post(backend.url, wav_bytes(sample("extension_ru"))).status_code == 200


def peak_bytes(process: Process) -> int:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_b17_the_temperature_reaches_the_model(root: str) -> None:
    body = wav_bytes(sample("extension_ru"))
    warm = post(root, body, response_format="verbose_json", temperature="0.2").json()
    assert warm["segments"][0]["temperature"] == pytest.approx(0.2)


def test_b24_the_first_versions_dialect_survives_what_it_died_of(backend: Process) -> None:
    def ask(**body: Any) -> httpx.Response:
        sent = {"user_id": "tab 1", "chunk": [], "sending": False} | body
        return httpx.post(f"{backend.url}/get_answer/", content=json.dumps(sent), timeout=120)

    nothing = ask()
    assert (nothing.status_code, nothing.json()["error"]["param"]) == (400, "user_id")
    for algorithm in ("peak", "rms", "lufs"):
        silent = ask(chunk=[0.0] * SAMPLE_RATE, norm_algo=algorithm, user_id=algorithm)
        assert silent.json() == {"response": "", "status": 200}, "silence has no level"
    short = ask(chunk=[0.1, -0.1] * 2000, norm_algo="lufs")
    assert short.status_code == 200, "too short for a loudness"
    assert ask(chunk=[0.0] * 8000, chunk_size_sec=0).status_code == 200
    for tab, name in (("a", "extension_ru"), ("b", "balance_ru")):
        ask(user_id=tab, chunk=sample(name).tolist(), sending=True)
    heard = {tab: ask(user_id=tab, norm_algo="as is").json()["response"] for tab in ("a", "b")}
    assert wer(heard["a"], heard_of("extension_ru")) < 0.4
    assert wer(heard["b"], heard_of("balance_ru")) < 0.4
    two = np.concatenate([sample("extension_ru"), np.zeros(32_000), sample("balance_ru")])
    joined = ask(user_id="c", chunk=two.tolist(), chunk_size_sec=6, norm_algo="as is").json()
    assert wer(joined["response"], f"{heard_of('extension_ru')} {heard_of('balance_ru')}") < 0.4
