"""Spans of speech -> windows: stretches of the file the recognizer hears in one forward pass.

Whisper always computes a full 30 s, so few full windows are cheap, but it invents text over long
silence and hears little in a scrap. So windows are packed by least total cost, in "seconds": each
window costs WINDOW_COST, each pause inside one what it exceeds COMFORTABLE_PAUSE_S by, a border in
a pause shorter than that what is missing, and a window shorter than SCRAP_S what it is short of.
Hence pauses of about ten seconds and more always end a window, shorter ones only where a border is
needed anyway, and borders fall into the longest pauses.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from stenograf.audio.spans import Span
from stenograf.audio.spool import Spool
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

WINDOW_COST = 8.0
COMFORTABLE_PAUSE_S = 2.0
SCRAP_S = 3.0

_FRAME_SAMPLES = SAMPLE_RATE * 10 // 1000
_PAUSE_FRAMES = 20  # 200 ms: between words, not the 50 ms before a stop consonant
_DEPTH = 1e-6  # 60 dB under the loudest frame all silence is the same

Quietest = Callable[[int, int], int]
"""Given a stretch (start, end) of the file, the sample in it where a cut hurts least."""


class Window(NamedTuple):
    """A stretch of the file, in samples, and the speech in it."""

    start: int
    end: int
    spans: tuple[Span, ...]
    seam: bool
    """Its end is a cut inside a span, and the next window begins right there."""


def cut(
    spans: Sequence[Span], n_samples: int, options: CutOptions, quietest: Quietest
) -> list[Window]:
    """Windows of at most `chunk_size_s` that cover every span of a file of `n_samples`.

    They are ordered, do not overlap and begin and end where spans do, in silence. Only a span that
    is longer than a window is cut, at its quietest point, and the windows there are marked `seam`.
    With `vad` off the whole file counts as one span, whatever `spans` holds.
    """
    limit = options.chunk_size_s * SAMPLE_RATE
    if not options.vad:
        spans = [Span(0, n_samples)] if n_samples else []
    pieces: list[Span] = []
    seams: set[int] = set()  # where a span was cut: two spans may touch without being one
    for span in spans:
        cut_span = _pieces(span, limit, quietest)
        pieces.extend(cut_span)
        seams.update(piece.end for piece in cut_span[:-1])
    return [
        Window(
            pieces[first].start,
            pieces[last - 1].end,
            tuple(pieces[first:last]),
            seam=pieces[last - 1].end in seams,
        )
        for first, last in _packed(pieces, limit)
    ]


def quietest_in(spool: Spool) -> Quietest:
    """The `quietest` of `cut` for a recording."""

    def quietest(start: int, end: int) -> int:
        return start + quietest_point(spool.read(start, end))

    return quietest


def quietest_point(waveform: Waveform) -> int:
    """Middle of the 200 ms with the lowest mean level in decibels; shape (n_samples,), not empty.

    The mean is over levels, not energies: a pause with a breath in it beats a short gap in a word.
    """
    n_frames = len(waveform) // _FRAME_SAMPLES
    if n_frames <= _PAUSE_FRAMES:
        return len(waveform) // 2
    frames = waveform[: n_frames * _FRAME_SAMPLES].reshape(n_frames, _FRAME_SAMPLES)
    energies = np.square(frames, dtype=np.float64).sum(axis=1)
    levels = np.log(energies + _DEPTH * energies.max() + np.finfo(np.float64).tiny)
    sums = np.concatenate(([0.0], np.cumsum(levels)))
    quietest = int(np.argmin(sums[_PAUSE_FRAMES:] - sums[:-_PAUSE_FRAMES]))
    return (quietest + _PAUSE_FRAMES // 2) * _FRAME_SAMPLES


def _pieces(span: Span, limit: int, quietest: Quietest) -> list[Span]:
    """The span in as few pieces as fit, cut at quiet points.

    A cut is sought as far back as leaves the number of pieces the same, and at least through the
    last third of a piece: freedom to find a pause is worth more than a full window.
    """
    pieces = []
    start, end = span
    while end - start > limit:
        remaining = end - start
        others = -(-remaining // limit) - 1
        earliest = max(limit // 3, min(remaining - others * limit, limit * 2 // 3))
        at = quietest(start + earliest, start + limit)
        at = min(max(at, start + 1), start + limit)
        pieces.append(Span(start, at))
        start = at
    return [*pieces, Span(start, end)]


def _packed(pieces: Sequence[Span], limit: int) -> list[tuple[int, int]]:
    """First piece and piece after the last of each window, by least total cost."""
    best = [0.0]
    opened_at = [0]
    for last in range(1, len(pieces) + 1):
        end = pieces[last - 1].end
        pauses = 0.0
        choices = []
        for first in range(last - 1, -1, -1):
            if end - pieces[first].start > limit:
                break
            if first < last - 1:
                pause_s = (pieces[first + 1].start - pieces[first].end) / SAMPLE_RATE
                pauses += max(0.0, pause_s - COMFORTABLE_PAUSE_S)
            cost = best[first] + _border_cost(pieces, first) + pauses
            cost += WINDOW_COST + max(0.0, SCRAP_S - (end - pieces[first].start) / SAMPLE_RATE)
            choices.append((cost, first))
        cost, first = min(choices)
        best.append(cost)
        opened_at.append(first)
    windows = []
    last = len(pieces)
    while last:
        windows.append((opened_at[last], last))
        last = opened_at[last]
    return windows[::-1]


def _border_cost(pieces: Sequence[Span], first: int) -> float:
    if first == 0:
        return 0.0
    pause_s = (pieces[first].start - pieces[first - 1].end) / SAMPLE_RATE
    return max(0.0, COMFORTABLE_PAUSE_S - pause_s)
