"""Windows of training: clips laid out in time and degraded, with texts and known word times."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import soxr

from training.augment import SAMPLE_RATE, Rng, Wave, background, degrade
from training.pool import Clip, Pool

Words = list[list[float]]


@dataclass
class Segment:
    """One utterance in a window; times in s from the window's start; words empty if unknown."""

    text: str
    start: float
    end: float
    words: Words = field(default_factory=list)


class Library:
    """The training pools, drawn from by weight; clips can also be asked for by voice."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._pools = {name: Pool(name) for name in weights}
        self._names = list(weights)
        total = sum(weights.values())
        self._weights = np.array([weights[name] / total for name in self._names])
        self._by_voice: dict[tuple[str, str], list[int]] = {}
        for name, pool in self._pools.items():
            for index, clip in enumerate(pool.clips):
                self._by_voice.setdefault((name, clip.voice), []).append(index)

    def draw(self, rng: Rng, like: tuple[str, str] | None = None) -> tuple[str, int]:
        """Return (pool name, clip index), of the pool and voice `like` if given."""
        if like is not None:
            return like[0], int(rng.choice(self._by_voice[like]))
        name = self._names[rng.choice(len(self._names), p=self._weights)]
        return name, int(rng.integers(len(self._pools[name])))

    def clip(self, name: str, index: int) -> tuple[Clip, Wave]:
        """Return a clip's description and waveform."""
        return self._pools[name].clips[index], self._pools[name].wave(index)


def change_speed(rng: Rng, wave: Wave, words: Words) -> tuple[Wave, Words]:
    """Play faster or slower by up to 15 %, pitch and all."""
    if rng.random() < 0.4:
        return wave, words
    factor = float(rng.uniform(0.87, 1.17))
    fast = soxr.resample(wave, SAMPLE_RATE * factor, SAMPLE_RATE, quality="LQ")
    return fast, [[a / factor, b / factor] for a, b in words]


def cut_edge(rng: Rng, wave: Wave, text: str, words: Words) -> tuple[Wave, str, Words]:
    """Cut a clip between two words, keeping either side; the text keeps the words still whole."""
    parts = text.split()
    keep = int(rng.integers(1, len(parts)))
    if rng.random() < 0.5:
        at = words[keep - 1][1]
        return wave[: int(at * SAMPLE_RATE)], " ".join(parts[:keep]).rstrip(",.!?"), words[:keep]
    at = words[keep][0]
    moved = [[a - at, b - at] for a, b in words[keep:]]
    return wave[int(at * SAMPLE_RATE) :], " ".join(parts[keep:]), moved


def speech_window(
    rng: Rng, library: Library, duration_s: float, one_voice: float = 0.6
) -> tuple[Wave, list[Segment]]:
    """Lay clips out until `duration_s` is full; return the clean window and its segments."""
    count = int(duration_s * SAMPLE_RATE)
    window = np.zeros(count, np.float32)
    segments: list[Segment] = []
    at = rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0, 2.0)], p=[0.3, 0.55, 0.15])
    stop = duration_s if rng.random() < 0.75 else rng.uniform(0.3, 1) * duration_s
    like: tuple[str, str] | None = None
    same = rng.random() < one_voice
    misfits = 0
    gap_scale = rng.choice([0.25, 0.6, 1.5])
    for _ in range(40):
        name, index = library.draw(rng, like if same else None)
        clip, wave = library.clip(name, index)
        wave, words = change_speed(rng, wave, clip.words)
        text = clip.text
        if words and len(words) > 1 and rng.random() < 0.04:
            wave, text, words = cut_edge(rng, wave, text, words)
        length = len(wave) / SAMPLE_RATE
        if at + length > stop + (0 if segments else duration_s - stop):
            misfits += 1
            if segments and misfits > 5:
                break
            if segments or length > duration_s:
                continue
            at = rng.uniform(0, duration_s - length)
        first = int(at * SAMPLE_RATE)
        wave = wave[: count - first] * np.float32(10 ** (rng.uniform(-5, 5) / 20))
        window[first : first + len(wave)] += wave
        shifted = [[a + at, b + at] for a, b in words]
        start = shifted[0][0] if shifted else at + 0.04
        end = shifted[-1][1] if shifted else at + length - 0.04
        segments.append(Segment(text, start, min(end, duration_s), shifted))
        like = (name, clip.voice)
        at += length + gap_scale * rng.uniform(0.1, 1.0)
    return window, segments


def make_window(
    rng: Rng, library: Library, duration_s: float, empty: float, strength: float
) -> tuple[Wave, list[Segment]]:
    """Return a degraded window and its segments; with probability `empty` one without speech."""
    if rng.random() >= empty:
        clean, segments = speech_window(rng, library, duration_s)
        return degrade(rng, clean, strength), segments
    count = int(duration_s * SAMPLE_RATE)
    if rng.random() < 0.15:
        return np.zeros(count, np.float32), []
    wave = background(rng, count)
    if rng.random() < 0.3:
        wave[int(rng.uniform(0.05, 1) * count) :] = 0
    gain_db = rng.uniform(-70, 0)
    return wave / np.float32(np.abs(wave).max() + 1e-9) * np.float32(10 ** (gain_db / 20)), []


TokenTimes = npt.NDArray[np.float32]
