"""`python -m bench.first_text`: how soon the first text of a long recording is there.

An hour of phrases with pauses, as MP3, is uploaded to a real backend before a real model service.
From asking for the job to its first recognized window, against the time that one window of 30 s
takes at the same model service alone. `as is` recognizes while the file is decoded; the default
gain is that of the whole recording, so decoding ends first. Modes take turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile

from bench.common import purge
from bench.seed.recording import RATE_HZ, synthesize
from stenograf.client import Client
from stenograf.contract.options import NormalizeMethod, NormalizeOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, wav_bytes
from stenograf.services import Services, running

MODES: tuple[NormalizeMethod, ...] = ("as is", "auto")
GOAL = 1.5
_ROUND_MINUTES = 10.0  # synthesized once, then repeated
_WINDOW_ROUNDS = 3
_ANSWER_S = 900.0


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
        recording = Path(folder) / "long.mp3"
        make_recording(recording, parsed.minutes)
        with running(settings, timeout_s=600) as services:
            window_s = window_time_s(services)
            rounds: dict[NormalizeMethod, list[Times]] = {mode: [] for mode in MODES}
            for _ in range(parsed.rounds):
                for mode in MODES:
                    rounds[mode].append(first_text(services, recording, mode))
    report(window_s, rounds)


def make_recording(path: Path, minutes: float) -> None:
    """Phrases of espeak-ng, 44.1 kHz mono MP3."""
    source = path.with_suffix(".wav")
    synthesize(source, min(minutes, _ROUND_MINUTES) * 60, channels=1)
    remaining = round(minutes * 60 * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, format="MP3") as file:
        while remaining > 0:
            for block in soundfile.blocks(source, RATE_HZ * 10, dtype="float32"):
                file.write(block[:remaining])
                remaining = max(0, remaining - len(block))
    source.unlink()


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


def first_text(services: Services, recording: Path, mode: NormalizeMethod) -> Times:
    """Ask for a transcript, watch it begin, and take the request back."""
    client = Client(services.backend.url)
    options = TranscribeOptions(normalize=NormalizeOptions(method=mode))
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


def report(window_s: float, rounds: Mapping[NormalizeMethod, list[Times]]) -> None:
    """Medians, spread, and the ratio that counts."""
    print(f"one window of 30 s: {window_s:.2f} s")
    print(f"{'gain':<8}{'first text':>12}{'spread':>16}{'windows':>9}{'decoded':>9}{'all cut':>9}")
    for mode, times in rounds.items():
        firsts = [each.first_text_s for each in times]
        first = statistics.median(firsts)
        decoded = statistics.median(each.decoded_s for each in times)
        known = statistics.median(each.all_windows_known_s for each in times)
        spread = f"{min(firsts):.2f} to {max(firsts):.2f}"
        reached = "" if first < GOAL * window_s else f"  over the goal of {GOAL}"
        print(
            f"{mode:<8}{first:>10.2f} s{spread:>16}{first / window_s:>9.2f}"
            f"{decoded:>9.2f}{known:>9.2f}{reached}"
        )


if __name__ == "__main__":
    main()
