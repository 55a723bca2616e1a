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

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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


@dataclass(eq=False)
class _Border:
    """Where a window may begin: before piece `number`, or behind the last one."""

    number: int
    cost: float  # of the cheapest packing of all pieces before it
    opened_at: "_Border | None" = None  # where the last window of that packing begins
    is_open: bool = True  # a later window may begin here
    followers: "set[_Border]" = field(default_factory=set)  # opened here, and still of use


class _Packing:
    """The packing of least total cost, piece after piece; what is certain is given and forgotten.

    The cheapest packings up to all borders form a tree. What nothing later can follow is pruned;
    while the root has one follower alone, every packing contains the window between them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._root = self._last = _Border(0, 0.0)
        self._pieces: list[tuple[Span, bool]] = []  # behind the root, and whether a seam ends each
        self._heard_to: int | None = None  # where the last piece ended, given or not
        self._near: deque[tuple[_Border, Span, float]] = deque()  # pieces a window may begin with

    def add(self, piece: Span, *, seam: bool) -> None:
        border_cost = 0.0
        if self._heard_to is not None:
            pause_s = (piece.start - self._heard_to) / SAMPLE_RATE
            border_cost = max(0.0, COMFORTABLE_PAUSE_S - pause_s)
        self._heard_to = piece.end
        self._pieces.append((piece, seam))
        self._near.append((self._last, piece, border_cost))
        self._close_before(piece.end - self._limit)
        cost, _, opened_at = min(self._choices())
        self._last = _Border(self._last.number + 1, cost, opened_at)
        opened_at.followers.add(self._last)

    def certain(self, horizon: int) -> list[Window]:
        """Windows that stay, wherever pieces follow from sample `horizon` on."""
        if self._pieces:
            self._close_before(max(horizon, self._pieces[-1][0].end) + 1 - self._limit)
        windows = []
        while not self._root.is_open and len(self._root.followers) == 1:
            (follower,) = self._root.followers
            windows.append(self._window(self._root, follower))
            del self._pieces[: follower.number - self._root.number]
            self._root, follower.opened_at = follower, None
        return windows

    def finish(self) -> list[Window]:
        windows = []
        border = self._last
        while border.opened_at is not None:
            windows.append(self._window(border.opened_at, border))
            border = border.opened_at
        return windows[::-1]

    def _choices(self) -> Iterator[tuple[float, int, _Border]]:
        """What a packing costs whose last window begins at each open border."""
        end = self._near[-1][1].end
        pauses = 0.0
        following: Span | None = None
        for border, piece, border_cost in reversed(self._near):
            if following is not None:
                pause_s = (following.start - piece.end) / SAMPLE_RATE
                pauses += max(0.0, pause_s - COMFORTABLE_PAUSE_S)
            following = piece
            cost = border.cost + border_cost + pauses
            cost += WINDOW_COST + max(0.0, SCRAP_S - (end - piece.start) / SAMPLE_RATE)
            yield cost, border.number, border

    def _close_before(self, earliest: int) -> None:
        """No window to come can begin with a piece before sample `earliest`."""
        while self._near and self._near[0][1].start < earliest:
            border = self._near.popleft()[0]
            border.is_open = False
            while not border.is_open and not border.followers and border.opened_at is not None:
                border.opened_at.followers.remove(border)
                border = border.opened_at

    def _window(self, first: _Border, last: _Border) -> Window:
        offset = self._root.number
        pieces = self._pieces[first.number - offset : last.number - offset]
        spans = tuple(piece for piece, _ in pieces)
        return Window(spans[0].start, spans[-1].end, spans, seam=pieces[-1][1])
