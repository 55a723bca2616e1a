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

from stenograf.audio.spool import Spool
from stenograf.audio.vad import Span
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

WINDOW_COST = 8.0
COMFORTABLE_PAUSE_S = 2.0
SCRAP_S = 3.0

_SMOOTH_SAMPLES = SAMPLE_RATE * 40 // 1000
_STEP_SAMPLES = SAMPLE_RATE * 10 // 1000

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
    """The `quietest` of `cut` for a recording: the middle of its quietest 40 ms."""

    def quietest(start: int, end: int) -> int:
        return start + quietest_point(spool.read(start, end))

    return quietest


def quietest_point(waveform: Waveform) -> int:
    """Middle of the 40 ms with least energy, the first such; shape (n_samples,), n_samples > 0."""
    if len(waveform) <= _SMOOTH_SAMPLES:
        return len(waveform) // 2
    energy = np.concatenate(([0.0], np.cumsum(np.square(waveform, dtype=np.float64))))
    starts = np.arange(0, len(waveform) - _SMOOTH_SAMPLES + 1, _STEP_SAMPLES)
    quiet = energy[starts + _SMOOTH_SAMPLES] - energy[starts]
    return int(starts[int(np.argmin(quiet))]) + _SMOOTH_SAMPLES // 2


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
