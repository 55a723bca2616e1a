"""The shipped recordings as windows: phrase by phrase, and several phrases in one."""

from functools import cache
from itertools import pairwise

import numpy as np
import soundfile
from tests.servers import SAMPLES

from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, SAMPLE_RATE, Waveform

_BLOCK = SAMPLE_RATE // 50
_PAUSE_BLOCKS = 15  # 0.3 s
_QUIET = 0.01  # of the loudest block


def phrases_of(waveform: Waveform) -> list[Waveform]:
    """A recording cut in the middle of its pauses; no cut is inside a word."""
    blocks = waveform[: len(waveform) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    level = np.sqrt(np.mean(np.square(blocks), axis=1))
    quiet = np.concatenate([[False], level < _QUIET * level.max(), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
    middles = [
        (first + last) // 2 * _BLOCK
        for first, last in edges.reshape(-1, 2)
        if last - first >= _PAUSE_BLOCKS
    ]
    cuts = [0, *middles, len(waveform)]
    pieces = [waveform[first:last] for first, last in pairwise(cuts)]
    return [piece for piece in pieces if np.abs(piece).max() > 0.02]


@cache
def windows() -> tuple[Waveform, ...]:
    """Every phrase alone, then three and three of those that are neighbours, then what is no
    speech: silence, hiss, hum."""
    found: list[Waveform] = []
    for path in sorted(SAMPLES.glob("*.flac")):
        sound, _ = soundfile.read(path, dtype="float32", always_2d=True)
        for channel in sound.T:
            phrases = phrases_of(np.ascontiguousarray(channel))
            found += phrases
            threes = [np.concatenate(phrases[i : i + 3]) for i in range(0, len(phrases) - 2, 3)]
            found += [three[:MAX_WINDOW_SAMPLES] for three in threes]  # a call is mostly pauses
    rng = np.random.default_rng(0)
    seconds = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    found.append(np.zeros(2 * SAMPLE_RATE, np.float32))
    found.append(rng.normal(0, 0.01, 3 * SAMPLE_RATE).astype(np.float32))
    found.append((0.1 * np.sin(2 * np.pi * 50 * seconds)).astype(np.float32))
    return tuple(found)


@cache
def mono_recordings() -> dict[str, tuple[Waveform, ...]]:
    """The phrases of each recording of one channel, by its name."""
    found = {}
    for path in sorted(SAMPLES.glob("*.flac")):
        sound, _ = soundfile.read(path, dtype="float32", always_2d=True)
        if sound.shape[1] == 1:
            found[path.stem] = tuple(phrases_of(np.ascontiguousarray(sound[:, 0])))
    return found
