"""`python -m bench.load`: many users of one model service, batched and one by one, in turn.

Each user sends clips of mixed lengths, one after the other, straight to the model service. The same
clips are sent to two services with the same engine and the same weights: one that computes a window
at a time and one that lets windows share a batch. They run in turn, A B A B, never together.
"""

import argparse
import io
import itertools
import json
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray

from stenograf.services import running

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "data" / "models" / "whisper-demo-ru"
SPEECH = ROOT / "data" / "samples" / "monologue_ru.flac"
CLIPS = 64
SHORTEST_S, LONGEST_S = 2.0, 28.0
_ANSWER_S = 900.0


@dataclass(frozen=True)
class Clip:
    """What a user sends."""

    wav: bytes
    length_s: float


@dataclass(frozen=True)
class Round:
    """One service under one number of users."""

    users: int
    clips: int
    sound_s: float
    wall_s: float
    latencies_s: list[float]
    refused: int

    @property
    def speed(self) -> float:
        """Seconds of sound recognized per second."""
        return self.sound_s / self.wall_s


def main() -> None:
    """Run all rounds and print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--model", default=str(EMBEDDED), help="a folder; default: embedded model")
    parser.add_argument("--engine", default="auto", help="as the setting ENGINE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch", type=int, default=8, help="largest batch of the second service")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a round, at least")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parsed = parser.parse_args()
    clips = mixed_clips()
    ways = {"one by one": 1, f"batches of {parsed.batch}": parsed.batch}
    rounds: dict[str, dict[int, list[Round]]] = {
        way: {users: [] for users in parsed.users} for way in ways
    }
    for _, (way, batch) in itertools.product(range(parsed.rounds), ways.items()):
        settings = {
            "LOCAL_LLM_MODEL": str(parsed.model),
            "ENGINE": parsed.engine,
            "DEVICE": "cpu",
            "LLM_THREADS": str(parsed.threads),
            "LLM_MAX_BATCH": str(batch),
            "LLM_QUEUE_SIZE": "256",
        }
        with running(settings, timeout_s=900) as services:
            send(services.llm.url, clips[0])
            for users in parsed.users:
                rounds[way][users].append(load(services.llm.url, clips, users, parsed.seconds))
    report(rounds)
    if parsed.json:
        rows = {
            way: {u: [asdict(r) for r in rs] for u, rs in by.items()} for way, by in rounds.items()
        }
        parsed.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def mixed_clips() -> list[Clip]:
    """Stretches of one recording, seeded, 2 to 28 s, more short ones than long ones."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    rng = np.random.default_rng(12)
    lengths = np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S), CLIPS))
    return [_clip(speech, rate, length_s, rng) for length_s in lengths.tolist()]


def _clip(
    speech: NDArray[np.float32], rate: int, length_s: float, rng: np.random.Generator
) -> Clip:
    n_samples = int(length_s * rate)
    start = int(rng.integers(0, len(speech) - n_samples))
    file = io.BytesIO()
    soundfile.write(file, speech[start : start + n_samples], rate, format="WAV", subtype="PCM_16")
    return Clip(file.getvalue(), length_s)


def send(url: str, clip: Clip) -> bool:
    """Have one clip recognized; False when the service is too busy for it."""
    answer = requests.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": ("clip.wav", clip.wav, "audio/wav")},
        data={"language": "ru", "response_format": "verbose_json"},
        timeout=_ANSWER_S,
    )
    if answer.status_code == 429:
        time.sleep(min(1.0, float(answer.headers.get("Retry-After", "1"))))
        return False
    answer.raise_for_status()
    return True


def load(url: str, clips: Sequence[Clip], users: int, least_s: float) -> Round:
    """`users` senders for `least_s`; what is under way then is finished and counted."""
    turns, lock = itertools.cycle(clips), threading.Lock()
    latencies: list[float] = []
    sound_s, refused = 0.0, 0
    began = time.monotonic()

    def user() -> None:
        nonlocal sound_s, refused
        while time.monotonic() - began < least_s:
            with lock:
                clip = next(turns)
            asked = time.monotonic()
            taken = send(url, clip)
            with lock:
                refused += not taken
                if taken:
                    latencies.append(time.monotonic() - asked)
                    sound_s += clip.length_s

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.monotonic() - began
    return Round(users, len(latencies), sound_s, wall_s, latencies, refused)


def report(rounds: Mapping[str, Mapping[int, Sequence[Round]]]) -> None:
    """Print medians over rounds; ratios against the first way."""
    first = next(iter(rounds))
    head = ("users", "way", "clips", "sound s/s", "ratio", "p50 s", "p95 s", "refused")
    print(("{:>6} {:<14}" + " {:>10}" * 6).format(*head))
    for users in rounds[first]:
        base = statistics.median(r.speed for r in rounds[first][users])
        for way, by_users in rounds.items():
            measured = by_users[users]
            speed = statistics.median(r.speed for r in measured)
            latencies = [latency for r in measured for latency in r.latencies_s]
            p50, p95 = np.percentile(latencies, [50, 95])
            clips, refused = (
                sum(getattr(r, name) for r in measured) for name in ("clips", "refused")
            )
            print(
                f"{users:6d} {way:<14} {clips:10d} {speed:10.1f} {speed / base:9.2f}x "
                f"{p50:10.2f} {p95:10.2f} {refused:10d}"
            )


if __name__ == "__main__":
    main()
