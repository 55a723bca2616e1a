"""`python -m bench.first_text`: how soon the first text of a long recording is there.

An hour of phrases with pauses, as MP3, is uploaded to a real backend before a real model service.
From asking for the job to its first recognized window, against the time that one window of 30 s
takes at the same model service alone. `as is` recognizes while the file is decoded. So does the
default gain, that of the whole recording, but on the guess that it is 1; `quiet` is a recording
whose beginning tells that it is not, and `misleading` one whose last minute makes it so. Modes take
turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray

from bench.common import purge
from bench.seed.recording import RATE_HZ, synthesize
from stenograf.client import Client
from stenograf.contract.options import NormalizeMethod, NormalizeOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, wav_bytes
from stenograf.services import Services, running

GOAL = 1.5
_QUIETER = 0.05  # -26 dB
_LOUD_S = 60.0
_ROUND_MINUTES = 10.0  # synthesized once, then repeated
_WINDOW_ROUNDS = 3
_ANSWER_S = 900.0


@dataclass(frozen=True)
class Mode:
    """What is asked of a recording; `change` makes it, of samples and the second they begin at."""

    name: str
    method: NormalizeMethod
    change: Callable[[NDArray[np.float32], float], NDArray[np.float32]]


@dataclass(frozen=True)
class Times:
    """Seconds from asking for a job."""

    first_text_s: float
    decoded_s: float
    all_windows_known_s: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_text", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--window-s", type=float, default=5.0, help="the fake engine's time")
    parser.add_argument("--model", type=Path, help="a folder with weights, in place of the fake")
    parser.add_argument("--threads", type=int, default=2, help="of the model, where it is real")
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args()
    settings = {"ENGINE": "fake", "FAKE_DELAY_S": str(parsed.window_s)}
    if parsed.model:
        model = str(parsed.model.resolve())
        settings = {"LOCAL_LLM_MODEL": model, "LLM_THREADS": str(parsed.threads), "DEVICE": "cpu"}
    with tempfile.TemporaryDirectory(prefix="first-text-") as folder:
        modes = modes_for(parsed.minutes * 60)
        recordings = make_recordings(Path(folder), modes, parsed.minutes * 60)
        with running(settings, timeout_s=600) as services:
            window_s = window_time_s(services)
            rounds: dict[str, list[Times]] = {mode.name: [] for mode in modes}
            for _ in range(parsed.rounds):
                for mode in modes:
                    times = first_text(services, recordings[mode.name], mode.method)
                    rounds[mode.name].append(times)
    report(window_s, rounds)


def modes_for(length_s: float) -> tuple[Mode, ...]:
    """What is compared, for recordings of `length_s`."""

    def same(block: NDArray[np.float32], _: float) -> NDArray[np.float32]:
        return block

    def loud_end(block: NDArray[np.float32], at_s: float) -> NDArray[np.float32]:
        if at_s < length_s - _LOUD_S:
            return block
        return np.sign(block) * np.float32(0.9)

    return (
        Mode("as is", "as is", same),
        Mode("auto", "auto", same),
        Mode("quiet", "auto", lambda block, _: block * np.float32(_QUIETER)),
        Mode("misleading", "auto", loud_end),
    )


def make_recordings(folder: Path, modes: tuple[Mode, ...], length_s: float) -> dict[str, Path]:
    """Phrases of espeak-ng, 44.1 kHz mono MP3, one file per change."""
    source = folder / "source.wav"
    synthesize(source, min(length_s, _ROUND_MINUTES * 60), channels=1)
    made: dict[object, Path] = {}
    for mode in modes:
        if mode.change not in made:
            made[mode.change] = folder / f"{mode.name}.mp3"
            _make(made[mode.change], source, mode, round(length_s * RATE_HZ))
    source.unlink()
    return {mode.name: made[mode.change] for mode in modes}


def _make(path: Path, source: Path, mode: Mode, n_samples: int) -> None:
    done = 0
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, format="MP3") as file:
        while done < n_samples:
            for block in soundfile.blocks(source, RATE_HZ * 10, dtype="float32"):
                file.write(mode.change(block[: n_samples - done], done / RATE_HZ))
                done += min(len(block), n_samples - done)


def window_time_s(services: Services) -> float:
    """Median time of one window of 30 s at the model service, nobody else asking."""
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(_WINDOW_ROUNDS):
        sound = rng.normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32)
        began = time.monotonic()
        answer = requests.post(
            f"{services.llm.url}/v1/audio/transcriptions",
            files={"file": ("window.wav", wav_bytes(sound), "audio/wav")},
            data={"language": "ru", "response_format": "verbose_json"},
            timeout=_ANSWER_S,
        )
        answer.raise_for_status()
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


def first_text(services: Services, recording: Path, method: NormalizeMethod) -> Times:
    """Ask for a transcript, watch it begin, and take the request back."""
    client = Client(services.backend.url)
    options = TranscribeOptions(normalize=NormalizeOptions(method=method))
    began = time.monotonic()
    sent = began

    def on_bytes(*_: object) -> None:
        nonlocal sent
        sent = time.monotonic()

    job = client.submit(recording, options, on_bytes=on_bytes)
    first = decoded = known = None
    for name, data in _events(services.backend.url, job.id):
        now = time.monotonic() - sent
        if name == "window" and first is None:
            first = now
        if name == "progress" and known is None and data["windows_total"] is not None:
            known = now
        if decoded is None and client.job(job.id).duration_s is not None:
            decoded = now
        if first is not None and decoded is not None and known is not None:
            break
    purge(services.backend.url, job.id)
    if first is None or decoded is None or known is None:
        raise SystemExit("The job ended before it had begun.")
    return Times(first, decoded, known)


def _events(url: str, job_id: str) -> Iterator[tuple[str, dict[str, object]]]:
    with requests.get(f"{url}/v1/jobs/{job_id}/events", stream=True, timeout=_ANSWER_S) as answer:
        answer.raise_for_status()
        name = ""
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def report(window_s: float, rounds: Mapping[str, list[Times]]) -> None:
    """Medians, spread, and the ratio that counts."""
    print(f"one window of 30 s: {window_s:.2f} s")
    print(f"{'gain':<12}{'first text':>12}{'spread':>16}{'windows':>9}{'decoded':>9}{'all cut':>9}")
    for mode, times in rounds.items():
        firsts = [each.first_text_s for each in times]
        first = statistics.median(firsts)
        decoded = statistics.median(each.decoded_s for each in times)
        known = statistics.median(each.all_windows_known_s for each in times)
        spread = f"{min(firsts):.2f} to {max(firsts):.2f}"
        reached = "" if first < GOAL * window_s else f"  over the goal of {GOAL}"
        print(
            f"{mode:<12}{first:>10.2f} s{spread:>16}{first / window_s:>9.2f}"
            f"{decoded:>9.2f}{known:>9.2f}{reached}"
        )


if __name__ == "__main__":
    main()
