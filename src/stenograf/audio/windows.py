"""Spans of speech -> windows: stretches of the file the recognizer hears in one forward pass.

Whisper always computes a full 30 s, so few full windows are cheap, but it invents text over long
silence and hears little in a scrap. So windows are packed by least total cost, in "seconds": each
window costs WINDOW_COST, each pause inside one what it exceeds COMFORTABLE_PAUSE_S by, a border in
a pause shorter than that what is missing, and a window shorter than SCRAP_S what it is short of.
Hence pauses of about ten seconds and more always end a window, shorter ones only where a border is
needed anyway, and borders fall into the longest pauses.

A window is given as soon as every way to pack what may still come agrees on it, so the first ones
can be recognized while the rest of the recording is still heard.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    if not options.vad:
        spans = [Span(0, n_samples)] if n_samples else []
    cutter = Cutter(options, quietest)
    return [*cutter.add(spans), *cutter.finish()]


class Cutter:
    """Cuts a recording whose spans are still being found; the windows are those of `cut`."""

    def __init__(self, options: CutOptions, quietest: Quietest) -> None:
        self._limit = options.chunk_size_s * SAMPLE_RATE
        self._quietest = quietest
        self._packing = _Packing(self._limit)

    def add(self, spans: Iterable[Span], horizon: int = 0) -> Iterator[Window]:
        """Take the next spans; gives the windows that nothing later can change.

        No later span begins before `horizon`. To be exhausted before the next call.
        """
        for span in spans:
            for piece in _pieces(span, self._limit, self._quietest):
                self._packing.add(piece, seam=piece.end != span.end)
                yield from self._packing.certain(piece.end)
        yield from self._packing.certain(horizon)

    def finish(self) -> list[Window]:
        """The remaining windows: there are no more spans."""
        return self._packing.finish()


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


def _pieces(span: Span, limit: int, quietest: Quietest) -> Iterator[Span]:
    """The span in as few pieces as fit, cut at quiet points.

    A cut is sought as far back as leaves the number of pieces the same, and at least through the
    last third of a piece: freedom to find a pause is worth more than a full window.
    """
    start, end = span
    while end - start > limit:
        remaining = end - start
        others = -(-remaining // limit) - 1
        earliest = max(limit // 3, min(remaining - others * limit, limit * 2 // 3))
        at = quietest(start + earliest, start + limit)
        at = min(max(at, start + 1), start + limit)
        yield Span(start, at)
        start = at
    yield Span(start, end)


class _Packing:
    """The packing of least total cost, piece after piece; what is certain is given and forgotten.

    Border k lies before piece k; the last border lies behind the last piece.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[Span] = []
        self._seams: list[bool] = []  # of each piece: it ends inside a span
        self._border_costs: list[float] = []  # of the border before each piece
        self._costs = [0.0]  # of the cheapest packing up to each border
        self._opened_at = [0]  # the border before the last window of that packing
        self._end: int | None = None

    def add(self, piece: Span, *, seam: bool) -> None:
        self._border_costs.append(0.0 if self._end is None else _border_cost(self._end, piece))
        self._pieces.append(piece)
        self._seams.append(seam)
        self._end = piece.end
        cost, opened_at = min(self._choices(piece.end))
        self._costs.append(cost)
        self._opened_at.append(opened_at)

    def certain(self, horizon: int) -> list[Window]:
        """Windows that stay, wherever pieces follow from sample `horizon` on."""
        return self._given(self._settled(max(horizon, self._end or 0)))

    def finish(self) -> list[Window]:
        return self._given(len(self._pieces))

    def _choices(self, end: int) -> Iterator[tuple[float, int]]:
        """Each border that a window up to `end` may begin at, and what the packing costs then."""
        pauses = 0.0
        for first in range(len(self._pieces) - 1, -1, -1):
            start, first_end = self._pieces[first]
            if end - start > self._limit:
                break
            if first < len(self._pieces) - 1:
                pause_s = (self._pieces[first + 1].start - first_end) / SAMPLE_RATE
                pauses += max(0.0, pause_s - COMFORTABLE_PAUSE_S)
            cost = self._costs[first] + self._border_costs[first] + pauses
            cost += WINDOW_COST + max(0.0, SCRAP_S - (end - start) / SAMPLE_RATE)
            yield cost, first

    def _settled(self, horizon: int) -> int:
        """The last border that all packings have in common, however the recording goes on.

        A later window can begin at the last border, or before a piece that is near enough to share
        a window with something behind `horizon`.
        """
        last = len(self._pieces)
        first = last
        while first and self._pieces[first - 1].start + self._limit > horizon:
            first -= 1
        reached = set(range(first, last + 1))
        for border in range(last, -1, -1):
            if reached == {border}:
                return border
            if border in reached:
                reached.remove(border)
                reached.add(self._opened_at[border])
        raise AssertionError("every packing begins at the first border")

    def _given(self, border: int) -> list[Window]:
        """The windows up to `border`, which are forgotten."""
        windows = []
        last = border
        while last:
            first = self._opened_at[last]
            pieces = tuple(self._pieces[first:last])
            windows.append(Window(pieces[0].start, pieces[-1].end, pieces, self._seams[last - 1]))
            last = first
        for each in (self._pieces, self._seams, self._border_costs, self._costs, self._opened_at):
            del each[:border]
        self._opened_at = [opened_at - border for opened_at in self._opened_at]
        return windows[::-1]


def _border_cost(end: int, following: Span) -> float:
    return max(0.0, COMFORTABLE_PAUSE_S - (following.start - end) / SAMPLE_RATE)
