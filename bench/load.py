"""`python -m bench.load`: many users of one model service, batched and one by one, in turn.

Each user sends clips of mixed lengths, one after the other, straight to the model service; with
`--file` one more sends the windows of a long file, as the backend does. Two services have the same
engine and the same weights: one computes a window at a time, the other lets windows share a batch.
They run in turn, A B A B; the one whose turn it is not is idle. The processor time of a busy
machine says more than its clock: both are told.
"""

import argparse
import io
import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray

from bench.common import EMBEDDED, MODELS, SPEECH
from bench.engines.checkpoints import SHAPES, checkpoint
from bench.seed.gauges import cpu_s
from stenograf.openai_audio.names import RECORDING_HEADER
from stenograf.services import Services, running

CLIPS = 64
SHORTEST_S, LONGEST_S = 2.0, 28.0
FILE_WINDOWS = 8  # of a long file at the model at once, as WINDOWS_IN_FLIGHT has it
_ANSWER_S = 1800.0


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
    cpu_s: float
    latencies_s: list[float]
    file_sound_s: float
    first_text_s: float | None
    refused: int

    @property
    def all_sound_s(self) -> float:
        """Of clips and of the long file."""
        return self.sound_s + self.file_sound_s

    @property
    def speed(self) -> float:
        """Seconds of sound recognized per second."""
        return self.all_sound_s / self.wall_s

    @property
    def thrift(self) -> float:
        """Seconds of sound recognized per second of processor time."""
        return self.all_sound_s / self.cpu_s


def main() -> None:
    """Run all rounds and print the comparison."""
    parsed = _arguments()
    model = parsed.model
    if model in SHAPES:
        MODELS.mkdir(parents=True, exist_ok=True)
        model = checkpoint(model, parsed.tokens, MODELS)
    settings = {
        "LOCAL_LLM_MODEL": str(Path(model).resolve()),
        "ENGINE": parsed.engine,
        "DEVICE": "cpu",
        "LLM_THREADS": str(parsed.threads),
        "LLM_QUEUE_SIZE": "256",
        "NATIVE_MARGIN_S": parsed.margin,
    }
    ways = {"one by one": "1", "batches": str(parsed.batch)}
    clips = [whole_file(parsed.minutes)] if parsed.minutes else mixed_clips()
    rounds: dict[str, dict[int, list[Round]]] = {
        way: {users: [] for users in parsed.users} for way in ways
    }
    with ExitStack() as stack:
        services = {
            way: stack.enter_context(running(settings | {"LLM_MAX_BATCH": batch}, timeout_s=900))
            for way, batch in ways.items()
        }
        for users, _, way in itertools.product(parsed.users, range(parsed.rounds), ways):
            rounds[way][users].append(
                load(services[way], clips, users, parsed.seconds, with_file=parsed.file)
            )
    report(rounds)
    if parsed.json:
        rows = {
            way: {u: [asdict(r) for r in rs] for u, rs in by.items()} for way, by in rounds.items()
        }
        parsed.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument(
        "--model",
        default=str(EMBEDDED),
        help=f"a folder, or random weights of a shape: {', '.join(SHAPES)}; default: embedded",
    )
    parser.add_argument("--tokens", type=int, default=50, help="that random weights say")
    parser.add_argument("--engine", default="auto", help="as the setting ENGINE")
    parser.add_argument("--margin", default="", help="as the setting NATIVE_MARGIN_S")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--file", action="store_true", help="a long file beside the users")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="each user sends whole files of this length"
    )
    parser.add_argument("--batch", type=int, default=0, help="as LLM_MAX_BATCH of the second")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a round, at least")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args()


def mixed_clips() -> list[Clip]:
    """Stretches of one recording, seeded, 2 to 28 s, more short ones than long ones."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    rng = np.random.default_rng(12)
    lengths = np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S), CLIPS))
    return [_clip(speech, rate, length_s, rng) for length_s in lengths.tolist()]


def whole_file(minutes: float) -> Clip:
    """One recording over and over."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    return _encoded(np.resize(speech, round(minutes * 60 * rate)), rate)


def _clip(
    speech: NDArray[np.float32], rate: int, length_s: float, rng: np.random.Generator
) -> Clip:
    n_samples = int(length_s * rate)
    start = int(rng.integers(0, len(speech) - n_samples))
    return _encoded(speech[start : start + n_samples], rate)


def _encoded(sound: NDArray[np.float32], rate: int) -> Clip:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="PCM_16")
    return Clip(file.getvalue(), len(sound) / rate)


def send(url: str, clip: Clip, recording: str = "") -> bool:
    """Have one clip recognized; False when the service is too busy for it."""
    answer = requests.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": ("clip.wav", clip.wav, "audio/wav")},
        data={"language": "ru", "response_format": "verbose_json"},
        headers={RECORDING_HEADER: recording} if recording else None,
        timeout=_ANSWER_S,
    )
    if answer.status_code == 429:
        time.sleep(min(1.0, float(answer.headers.get("Retry-After", "1"))))
        return False
    answer.raise_for_status()
    return True


def load(
    services: Services, clips: Sequence[Clip], users: int, least_s: float, *, with_file: bool
) -> Round:
    """`users` senders for `least_s`; what is under way then is finished and counted."""
    url = services.llm.url
    send(url, whole_file(SHORTEST_S / 60))
    turns, lock = itertools.cycle(clips), threading.Lock()
    latencies: list[float] = []
    file_latencies: list[float] = []
    sound_s, refused = 0.0, 0
    file_clip = max(clips, key=lambda clip: clip.length_s)

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

    def file_sender() -> None:
        while time.monotonic() - began < least_s:
            if send(url, file_clip, "the long file"):
                file_latencies.append(time.monotonic() - began)

    senders = [user] * users + [file_sender] * (FILE_WINDOWS if with_file else 0)
    threads = [threading.Thread(target=sender) for sender in senders]
    pid = services.llm.process.pid
    began, before_s = time.monotonic(), cpu_s(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Round(
        users=users,
        clips=len(latencies),
        sound_s=sound_s,
        wall_s=time.monotonic() - began,
        cpu_s=cpu_s(pid) - before_s,
        latencies_s=latencies,
        file_sound_s=file_clip.length_s * len(file_latencies),
        first_text_s=min(file_latencies, default=None),
        refused=refused,
    )


def report(rounds: Mapping[str, Mapping[int, Sequence[Round]]]) -> None:
    """Print medians over rounds; ratios against the first way."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    head = ("users", "way", "clips", "sound/s", "ratio", "sound/cpu s", "ratio", "p50 s", "p95 s")
    print(("{:>6} {:<11}" + " {:>11}" * 9).format(*head, "first text", "refused"))
    first = next(iter(rounds))
    for users, bases in rounds[first].items():
        for way, by_users in rounds.items():
            print(f"{users:6d} {way:<11} {_row(by_users[users], bases)}")


def _row(measured: Sequence[Round], bases: Sequence[Round]) -> str:
    speed, thrift, base_speed, base_thrift = (
        statistics.median(getattr(r, name) for r in rounds)
        for rounds in (measured, bases)
        for name in ("speed", "thrift")
    )
    latencies = [latency for r in measured for latency in r.latencies_s]
    p50, p95 = np.percentile(latencies, [50, 95]) if latencies else (np.nan, np.nan)
    firsts = [r.first_text_s for r in measured if r.first_text_s is not None]
    clips, refused = (sum(getattr(r, name) for r in measured) for name in ("clips", "refused"))
    return (
        f"{clips:11d} {speed:11.2f} {speed / base_speed:10.2f}x {thrift:11.2f} "
        f"{thrift / base_thrift:10.2f}x {p50:11.2f} {p95:11.2f} "
        f"{statistics.median(firsts) if firsts else np.nan:11.2f} {refused:11d}"
    )


if __name__ == "__main__":
    main()
