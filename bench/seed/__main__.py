"""`python -m bench.seed`: the first version's transport beside ours, one recording, one run.

Both ways use the same engine without weights, so what is measured is everything around the model:
bytes on the wire (both hops, both directions), CPU seconds, peak memory, words cut by a window's
border. Ours runs twice: with the very WAV file that the first version takes, and with the same
samples as FLAC, which it could not take. Each run has one unmeasured minute to warm up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import soundfile

from bench.seed.gauges import measured
from bench.seed.lines import Line, our_line, seed_line
from bench.seed.recording import SpokenWord, synthesize

MIB = 1024**2
CUT_S = 30

OpenLine = Callable[[], AbstractContextManager[Line]]


@dataclass(frozen=True)
class Figures:
    """One way's cost for one recording."""

    wire_bytes: dict[str, int]
    cpu_s: dict[str, float]
    sound_cpu_s: float  # decoding, resampling, levels, voice detection, measured alone
    peak_rss_bytes: dict[str, int]
    wall_s: float
    windows: int
    words_cut: int
    words_lost: int

    @property
    def moving_cpu_s(self) -> float:
        """CPU seconds of everything but sound processing."""
        return max(0.0, sum(self.cpu_s.values()) - self.sound_cpu_s)


def main() -> None:
    """Run all ways and print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.seed", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the recording")
    parser.add_argument("--channels", type=int, choices=[1, 2], default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-seed-") as folder:
        length_s = 60 * parsed.minutes
        warm, wav = Path(folder, "warm.wav"), Path(folder, "recording.wav")
        synthesize(warm, 60.0, parsed.channels, seed=2)
        words = synthesize(wav, length_s, parsed.channels)
        flac = wav.with_suffix(".flac")
        soundfile.write(flac, *soundfile.read(wav, dtype="int16"), subtype="PCM_16")
        kind = "stereo" if parsed.channels == 2 else "mono"
        size_mib = wav.stat().st_size / MIB
        print(f"{length_s:.0f} s, 44.1 kHz {kind} WAV, {size_mib:.0f} MiB, {len(words)} words")
        ways = {
            "seed": _run(seed_line, warm, wav, words, length_s),
            "ours": _run(our_line, warm, wav, words, length_s),
            "ours, FLAC": _run(our_line, warm, flac, words, length_s),
        }
    _print(ways, len(words))
    if parsed.json:
        parsed.json.write_text(json.dumps({k: asdict(v) for k, v in ways.items()}, indent=1))


def _run(
    open_line: OpenLine,
    warm: Path,
    recording: Path,
    words: Sequence[SpokenWord],
    length_s: float,
) -> Figures:
    with open_line() as line:
        sound = _work(line.way, "process", recording)
        _work(line.way, "send", warm, line.url)
        before = {name: hop.counted_bytes for name, hop in line.relays.items()}
        began = time.monotonic()
        with measured(line.pids) as usage:
            sent = _work(line.way, "send", recording, line.url)
        wall_s = time.monotonic() - began
        wire = {name: hop.counted_bytes - before[name] for name, hop in line.relays.items()}
    windows = sent["windows"] or _fixed_cuts(length_s)
    peaks = {name: service.peak_rss_bytes for name, service in usage.items()}
    return Figures(
        wire_bytes=wire,
        cpu_s={"front": sent["cpu_s"]} | {name: s.cpu_s for name, s in usage.items()},
        sound_cpu_s=sound["cpu_s"],
        peak_rss_bytes={"front": sent["peak_rss_bytes"]} | peaks,
        wall_s=wall_s,
        windows=len(windows),
        words_cut=words_cut(words, windows),
        words_lost=words_lost(words, windows),
    )


def _work(way: str, work: str, path: Path, *url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.seed.worker", way, work, str(path), *url]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    figures: dict[str, Any] = json.loads(answer)
    return figures


def _fixed_cuts(length_s: float) -> list[tuple[float, float]]:
    return [(start, min(start + CUT_S, length_s)) for start in range(0, int(length_s), CUT_S)]


def words_cut(words: Sequence[SpokenWord], windows: Sequence[tuple[float, float]]) -> int:
    """Words with a window's border inside them."""
    borders = [border for window in windows for border in window]
    return sum(any(word.start_s < border < word.end_s for border in borders) for word in words)


def words_lost(words: Sequence[SpokenWord], windows: Sequence[tuple[float, float]]) -> int:
    """Words that lie in no window at all."""
    return sum(
        all(word.end_s <= start or end <= word.start_s for start, end in windows) for word in words
    )


def _print(ways: Mapping[str, Figures], words: int) -> None:
    every = list(ways.values())
    first = every[0]
    print("\n" + " " * 34 + "".join(f"{name:>20}" for name in ways))
    for hop in first.wire_bytes:
        _row(f"wire {hop}, MiB", [f.wire_bytes[hop] / MIB for f in every])
    _row("wire in all, MiB", [sum(f.wire_bytes.values()) / MIB for f in every])
    for name in first.cpu_s:
        _row(f"CPU {name}, s", [f.cpu_s[name] for f in every])
    _row("CPU in all, s", [sum(f.cpu_s.values()) for f in every])
    _row("  sound processing alone, s", [f.sound_cpu_s for f in every])
    _row("  the rest: moving sound, s", [f.moving_cpu_s for f in every])
    for name in first.peak_rss_bytes:
        _row(f"peak RSS {name}, MiB", [f.peak_rss_bytes[name] / MIB for f in every])
    _row("wall, s", [f.wall_s for f in every])
    _count("windows", [f.windows for f in every])
    _count(f"words cut in half, of {words}", [f.words_cut for f in every])
    _count("words in no window", [f.words_lost for f in every])


def _row(label: str, values: Sequence[float]) -> None:
    first, *others = values
    cells = [f"{value:12.2f}{f'{first / max(value, 1e-9):.1f}x':>8}" for value in others]
    print(f"{label:34}{first:12.2f}{'':8}" + "".join(cells))


def _count(label: str, values: Sequence[int]) -> None:
    print(f"{label:34}" + "".join(f"{value:12d}{'':8}" for value in values).rstrip())


if __name__ == "__main__":
    main()
