"""`python -m bench.silence`: what leaving silence out is worth, and that it costs no text.

A recording that is half silence (stretches of the shipped monologue, behind each as much silence)
is recognized by one backend and one model service twice, in turns: as the cutter gives
it, and with voice detection off, which recognizes every second in windows of 30 s. From asking for
the job to its end, and the words of both against each other and against what was said.
"""

import argparse
import difflib
import itertools
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from bench.common import EMBEDDED, SPEECH, purge
from bench.engines.checkpoints import checkpoint
from stenograf.audio.vad import VoiceDetector
from stenograf.client import Client
from stenograf.contract.options import CutOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.services import running

GOAL = 1.8
WAYS = {"cut in silence": CutOptions(), "every second": CutOptions(vad=False)}


@dataclass(frozen=True)
class Run:
    """One transcription."""

    seconds: float
    windows: int
    text: str


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.silence", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="length, half of it silence")
    parser.add_argument("--stretch", type=float, default=70.0, help="seconds of speech in one go")
    parser.add_argument(
        "--shape",
        choices=("tiny", "base", "small", "medium"),
        help="random weights that say a fixed text, in place of the embedded model",
    )
    parser.add_argument("--tokens", type=int, default=50, help="of that text")
    parser.add_argument("--engine", default="auto", help="as the setting ENGINE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args()  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="silence-") as name:
        folder = Path(name)
        model = checkpoint(parsed.shape, parsed.tokens, folder) if parsed.shape else EMBEDDED
        settings = {
            "LOCAL_LLM_MODEL": str(model),
            "ENGINE": parsed.engine,
            "LLM_THREADS": str(parsed.threads),
            "DEVICE": "cpu",
        }
        recording = folder / "half_silence.flac"
        sound = half_silence(parsed.minutes, parsed.stretch)
        soundfile.write(recording, sound, SAMPLE_RATE, "PCM_16")
        with running(settings, timeout_s=600) as services:
            runs: dict[str, list[Run]] = {way: [] for way in WAYS}
            for _ in range(parsed.rounds):
                for way, cut in WAYS.items():
                    runs[way].append(transcribed(services.backend.url, recording, cut))
    report(runs, None if parsed.shape else SPEECH.with_suffix(".txt").read_text("utf-8"))


def half_silence(minutes: float, stretch_s: float) -> Waveform:
    """Stretches of speech that end in a pause, each followed by as much room noise."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == SAMPLE_RATE
    stretches = _stretches(speech, stretch_s)
    rng = np.random.default_rng(5)
    pieces: list[Waveform] = []
    remaining = round(minutes * 60 * SAMPLE_RATE)
    while remaining > 0:
        for stretch in stretches:
            if remaining > 0:
                room = rng.normal(0, 1e-4, len(stretch)).astype(np.float32)
                pieces += [stretch, room]
                remaining -= 2 * len(stretch)
    return np.concatenate(pieces)


def _stretches(speech: Waveform, stretch_s: float) -> list[Waveform]:
    """The recording in pieces of at least `stretch_s`, parted in the middle of pauses."""
    spans = VoiceDetector().spans([speech], CutOptions())
    borders = [0]
    for before, after in itertools.pairwise(spans):
        middle = (before.end + after.start) // 2
        if middle - borders[-1] >= stretch_s * SAMPLE_RATE:
            borders.append(middle)
    return np.split(speech, borders[1:])


def transcribed(url: str, recording: Path, cut: CutOptions) -> Run:
    """One job from asking for it to its end; it is removed then, so the next begins anew."""
    client = Client(url)
    job = client.submit(recording, TranscribeOptions(cut=cut))
    view = client.wait(job.id)
    text = client.transcript(job.id, "txt").decode()
    purge(url, job.id)
    assert view.finished_at is not None
    seconds = (view.finished_at - view.created_at).total_seconds()
    return Run(seconds, view.progress.windows_done, text)


def words(text: str) -> list[str]:
    """Words for comparison: lower case, no punctuation."""
    return re.findall(r"\w+", text.casefold().replace("ё", "е"))


def report(runs: Mapping[str, Sequence[Run]], said_once: str | None) -> None:
    """Medians, the ratio, and where the texts differ."""
    times = {way: statistics.median(run.seconds for run in each) for way, each in runs.items()}
    for way, each in runs.items():
        spread = f"{min(run.seconds for run in each):.1f} to {max(run.seconds for run in each):.1f}"
        print(f"{way:<16}{times[way]:>8.1f} s ({spread}), {each[0].windows} windows")
    cut, whole = (words(runs[way][0].text) for way in WAYS)
    ratio = times["every second"] / times["cut in silence"]
    print(f"ratio {ratio:.2f} (goal {GOAL})")
    if said_once is None:
        print("The text of these weights is the same in every window, so it is not compared.")
        return
    said = words(said_once)
    rounds = max(1, round(len(cut) / len(said)))
    for way, heard in zip(WAYS, (cut, whole), strict=True):
        rate = jiwer.wer(" ".join(said * rounds), " ".join(heard))
        print(f"{way:<16}{len(heard):>6} words, word error rate {100 * rate:.1f} %")
    between = jiwer.wer(" ".join(whole), " ".join(cut))
    print(f"words that differ between the two: {100 * between:.1f} %")
    for tag, a, b, c, d in difflib.SequenceMatcher(None, whole, cut, autojunk=False).get_opcodes():
        if tag != "equal":
            print(
                f"  every second: {' '.join(whole[a:b]) or '-'} | cut: {' '.join(cut[c:d]) or '-'}"
            )


if __name__ == "__main__":
    main()
