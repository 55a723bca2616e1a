"""Pools of clean clips: 16 kHz s16 samples in NAME.pcm, one JSON line per clip in NAME.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import soxr

from training.paths import WORK

SAMPLE_RATE = 16_000
Wave = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """One utterance of a pool; `words` holds [start, end] in s per word, empty when unknown."""

    voice: str
    text: str
    start: int
    length: int
    words: list[list[float]]


class PoolWriter:
    """Appends clips to a pool."""

    def __init__(self, name: str) -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        self._pcm = (WORK / f"{name}.pcm").open("wb")
        self._index = (WORK / f"{name}.jsonl").open("w", encoding="utf-8")
        self._at = 0

    def add(self, wave: Wave, rate: int, text: str, voice: str, words: list[list[float]]) -> None:
        """Store a waveform in [-1, 1] at any rate, brought to 16 kHz and a common loudness."""
        if rate != SAMPLE_RATE:
            wave = soxr.resample(wave, rate, SAMPLE_RATE)
        wave, cut_s = trim(wave)
        wave = wave * (0.09 / max(loudness(wave), 1e-5))
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        moved = [[max(0.0, round(a - cut_s, 3)), round(b - cut_s, 3)] for a, b in words]
        clip = Clip(voice, text, self._at, len(samples), moved)
        samples.tofile(self._pcm)
        self._index.write(json.dumps(asdict(clip), ensure_ascii=False) + "\n")
        self._at += len(samples)

    def __enter__(self) -> PoolWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pcm.close()
        self._index.close()


class Pool:
    """Reads a pool through a memory map."""

    def __init__(self, name: str) -> None:
        path: Path = WORK / f"{name}.jsonl"
        self.clips = [Clip(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
        self._pcm = np.memmap(WORK / f"{name}.pcm", dtype=np.int16, mode="r")

    def __len__(self) -> int:
        return len(self.clips)

    def wave(self, index: int) -> Wave:
        """Return clip `index` as float32, shape (n_samples,), range [-1, 1]."""
        clip = self.clips[index]
        return self._pcm[clip.start : clip.start + clip.length].astype(np.float32) / 32768


def loudness(wave: Wave) -> float:
    """Return the RMS of the louder half of 20 ms frames, so that pauses do not count."""
    frames = wave[: len(wave) // 320 * 320].reshape(-1, 320)
    power = np.sort((frames**2).mean(axis=1))
    return float(np.sqrt(power[len(power) // 2 :].mean())) if len(power) else 0.0


def trim(wave: Wave, floor_db: float = -42.0, margin_s: float = 0.04) -> tuple[Wave, float]:
    """Cut silence at both ends down to a margin; return the rest and the seconds cut in front."""
    count = len(wave) // 160
    if count == 0:
        return wave, 0.0
    power = (wave[: count * 160].reshape(-1, 160) ** 2).mean(axis=1) + 1e-12
    loud = np.flatnonzero(10 * np.log10(power / power.max()) > floor_db)
    margin = int(margin_s * 100)
    first, last = max(0, loud[0] - margin), min(count, loud[-1] + 1 + margin)
    return wave[first * 160 : last * 160], first / 100


def tighten(wave: Wave, rate: int, words: list[list[float]]) -> list[list[float]]:
    """Move each word's end back over the silence that follows the word, at most to its start."""
    hop = rate // 100
    count = len(wave) // hop
    power = (wave[: count * hop].reshape(-1, hop) ** 2).mean(axis=1) + 1e-12
    level = 10 * np.log10(power / power.max())
    result = []
    for start, end in words:
        last, first = min(count, int(end * 100)), int(start * 100)
        while last > first + 5 and level[last - 1] < -38:
            last -= 1
        result.append([start, round(last / 100, 3)])
    return result
