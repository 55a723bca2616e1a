"""`python -m bench.dsp`: our signal path beside ffmpeg's and beside librosa with pyloudnorm.

Every way reads the same file, resamples to 16 kHz mono, measures and (except ffmpeg's meters)
normalizes. Ways take turns, round by round, each in a fresh process; the table shows medians.
CPU seconds are the figure to compare on a busy machine; all of a process's children count.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.longfile import make_mp3, make_wav

MIB = 1024**2
GOAL_AGAINST_SEED = 1.6
GOAL_AGAINST_FFMPEG = 0.8  # level, with room for the start of two interpreters
GOAL_RSS_BYTES = 150 * MIB

_OURS = """
import sys
from pathlib import Path
from stenograf.audio.decode import DecodeLimits, decode
from stenograf.audio.loudness import gain
from stenograf.audio.spool import Spool
from stenograf.contract.options import NormalizeOptions
source, folder = map(Path, sys.argv[1:])
decoded = decode(source, folder / "spool", DecodeLimits(min_free_bytes=0))
factor, levels = gain(decoded.level, NormalizeOptions(method="lufs"))
with Spool(folder / "spool") as spool:
    for block in spool.blocks():
        block *= factor
print(f"{decoded.level.lufs:.2f} LUFS, {decoded.level.true_peak_db:.2f} dBTP")
"""

_SEED = """
import sys
import librosa, pyloudnorm
samples, rate = librosa.load(sys.argv[1], sr=None, mono=True)
loudness = pyloudnorm.Meter(rate).integrated_loudness(samples)
samples = pyloudnorm.normalize.loudness(samples, loudness, -20.0)
samples = librosa.resample(samples, orig_sr=rate, target_sr=16000)
print(f"{loudness:.2f} LUFS at {rate} Hz")
"""

_MONO = "aresample=16000,aformat=channel_layouts=mono"
_FFMPEG_FILTERS = {
    "ffmpeg aresample": _MONO,
    "ffmpeg + ebur128": f"{_MONO},ebur128=framelog=verbose",
    "ffmpeg + ebur128 true peak": f"{_MONO},ebur128=framelog=verbose:peak=sample+true",
    "ffmpeg + loudnorm": f"{_MONO},loudnorm=I=-20:TP=-1,aresample=16000",
}


class Cost(NamedTuple):
    """One run: wall clock, CPU of the process and its children, largest resident set of one."""

    wall_s: float
    cpu_s: float
    rss_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 where a goal is missed."""
    options = _options(arguments)
    if not shutil.which("ffmpeg"):
        print("bench.dsp needs the ffmpeg command; on Debian: apt-get install ffmpeg")
        return 2
    missed = False
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        wav, mp3 = folder / "long.wav", folder / "long.mp3"
        make_wav(wav, options.minutes * 60)
        make_mp3(mp3, wav, options.minutes * 60)
        for source in (wav, mp3):
            ways = _ways(source, folder, loudnorm=options.loudnorm)
            costs: dict[str, list[Cost]] = {way: [] for way in ways}
            for _ in range(options.rounds):
                for way, command in ways.items():
                    costs[way].append(_run(command))
            print(f"\n{options.minutes:g} minutes of 44.1 kHz stereo {source.suffix[1:]}")
            missed |= _report({way: _middle(runs) for way, runs in costs.items()}, options.minutes)
    return int(missed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dsp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="length; 60 for the full figure")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--loudnorm", action="store_true", help="ffmpeg's loudnorm too (slow)")
    parser.add_argument("--folder", help="where to put the files (13 GB an hour with all ways)")
    return parser.parse_args(arguments)


def _ways(source: Path, folder: Path, *, loudnorm: bool) -> dict[str, list[str]]:
    ways = {
        "ours": [sys.executable, "-c", _OURS, str(source), str(folder)],
        "librosa + pyloudnorm": [sys.executable, "-c", _SEED, str(source)],
    }
    for way, filters in _FFMPEG_FILTERS.items():
        if loudnorm or "loudnorm" not in way:
            ways[way] = [
                "ffmpeg", "-v", "error", "-nostats", "-y", "-i", str(source), "-map", "0:a:0",
                "-af", filters, "-f", "f32le", str(folder / "ffmpeg.raw"),
            ]  # fmt: skip
    return ways


def _run(command: Sequence[str]) -> Cost:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {complaint.decode(errors='replace')[-500:]}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _middle(runs: Sequence[Cost]) -> Cost:
    return Cost(
        median(run.wall_s for run in runs),
        median(run.cpu_s for run in runs),
        max(run.rss_bytes for run in runs),
    )


def _report(costs: Mapping[str, Cost], minutes: float) -> bool:
    """Print the table; true where a goal is missed."""
    ours = costs["ours"]
    print(f"{'':28}{'wall s':>9}{'CPU s':>9}{'x real time':>13}{'RSS MB':>9}{'CPU, ours=1':>13}")
    for way, cost in costs.items():
        print(
            f"{way:28}{cost.wall_s:9.2f}{cost.cpu_s:9.2f}{minutes * 60 / cost.wall_s:13.0f}"
            f"{cost.rss_bytes / MIB:9.0f}{cost.cpu_s / ours.cpu_s:13.2f}"
        )
    against_seed = costs["librosa + pyloudnorm"].cpu_s / ours.cpu_s
    against_ffmpeg = costs["ffmpeg + ebur128 true peak"].cpu_s / ours.cpu_s
    goals = {
        "level with ffmpeg measuring the same": against_ffmpeg >= GOAL_AGAINST_FFMPEG,
        f"{GOAL_AGAINST_SEED} x the seed's way": against_seed >= GOAL_AGAINST_SEED,
        f"under {GOAL_RSS_BYTES // MIB} MB": ours.rss_bytes < GOAL_RSS_BYTES,
    }
    for goal, reached in goals.items():
        print(f"{'reached' if reached else 'MISSED'}: {goal}")
    return not all(goals.values())


if __name__ == "__main__":
    sys.exit(main())
