"""Spans become windows: nothing lost, nothing cut that need not be."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.audio.spans import Span
from stenograf.audio.spool import Spool, SpoolWriter
from stenograf.audio.windows import Cutter, Window, cut, quietest_in, quietest_point
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE

from .sounds import babble

S = SAMPLE_RATE


@st.composite
def files(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Spans of a file and its length; spans may touch, the last may end with the file."""
    spans = []
    position = 0
    for _ in range(draw(st.integers(0, 12))):
        position += draw(st.one_of(st.just(0), st.integers(0, 3 * S), st.integers(0, 40 * S)))
        length = draw(st.one_of(st.integers(1, 4 * S), st.integers(1, 90 * S)))
        spans.append(Span(position, position + length))
        position += length
    return spans, position + draw(st.integers(0, 10 * S))


def _anywhere(seed: int) -> Callable[[int, int], int]:
    """A `quietest` that may answer any sample of the stretch."""
    rng = np.random.default_rng(seed)

    def quietest(start: int, end: int) -> int:
        assert start < end
        return int(rng.integers(start, end))

    return quietest


@settings(max_examples=300)
@given(file=files(), chunk_size_s=st.integers(1, 30), vad=st.booleans(), seed=st.integers(0, 9))
def test_windows_hold_all_speech_in_order_and_within_the_limit(
    file: tuple[list[Span], int], chunk_size_s: int, vad: bool, seed: int
) -> None:
    spans, n_samples = file
    options = CutOptions(chunk_size_s=chunk_size_s, vad=vad)
    windows = cut(spans, n_samples, options, _anywhere(seed))
    limit = chunk_size_s * S
    for window in windows:
        assert 0 <= window.start < window.end <= n_samples
        assert window.end - window.start <= limit
        assert (window.start, window.end) == (window.spans[0].start, window.spans[-1].end)
    for before, after in itertools.pairwise(windows):
        assert before.end <= after.start
    speech = spans if vad else [Span(0, n_samples)] * (n_samples > 0)
    pieces = [piece for window in windows for piece in window.spans]
    assert sum(end - start for start, end in pieces) == sum(e - s for s, e in speech)
    assert all(any(s <= piece.start and piece.end <= e for s, e in speech) for piece in pieces)
    _borders_are_in_silence(windows, speech, limit)


def _borders_are_in_silence(windows: list[Window], speech: Sequence[Span], limit: int) -> None:
    starts, ends = {span.start for span in speech}, {span.end for span in speech}
    inside = {
        border
        for span in speech
        if span.end - span.start > limit
        for window in windows
        for border in (window.start, window.end)
        if span.start < border < span.end
    }
    for index, window in enumerate(windows):
        assert window.start in starts or window.start in inside
        assert window.end in ends or window.seam
        assert window.seam == (window.end in inside)
        if window.seam:
            assert windows[index + 1].start == window.end


@settings(max_examples=100)
@given(
    lengths_s=st.lists(st.floats(0.1, 12), min_size=1, max_size=9),
    pauses_s=st.lists(st.floats(0, 25), min_size=9, max_size=9),
    chunk_size_s=st.integers(12, 30),
)
def test_no_other_packing_costs_less(
    lengths_s: list[float], pauses_s: list[float], chunk_size_s: int
) -> None:
    spans = []
    position = 0
    for length_s, pause_s in zip(lengths_s, pauses_s, strict=False):
        start = position + round(pause_s * S)
        position = start + round(length_s * S)
        spans.append(Span(start, position))
    windows = cut(spans, position, CutOptions(chunk_size_s=chunk_size_s), _anywhere(0))
    found = _cost([list(window.spans) for window in windows])
    every = (
        _cost(packing)
        for packing in _packings(spans)
        if all(group[-1].end - group[0].start <= chunk_size_s * S for group in packing)
    )
    assert found == pytest.approx(min(every))


def _packings(spans: list[Span]) -> Iterator[list[list[Span]]]:
    for borders in itertools.product([False, True], repeat=len(spans) - 1):
        packing = [[spans[0]]]
        for span, border in zip(spans[1:], borders, strict=True):
            if border:
                packing.append([span])
            else:
                packing[-1].append(span)
        yield packing


def _cost(packing: list[list[Span]]) -> float:
    def pause_s(before: Span, after: Span) -> float:
        return (after.start - before.end) / S

    windows = sum(8 + max(0.0, 3 - (group[-1].end - group[0].start) / S) for group in packing)
    inner = sum(max(0.0, pause_s(*p) - 2) for group in packing for p in itertools.pairwise(group))
    borders = sum(max(0.0, 2 - pause_s(a[-1], b[0])) for a, b in itertools.pairwise(packing))
    return windows + inner + borders


@settings(max_examples=300)
@given(
    file=files(), chunk_size_s=st.integers(1, 30), at_once=st.integers(1, 5), seed=st.integers(0, 9)
)
def test_windows_given_early_are_those_of_the_whole(
    file: tuple[list[Span], int], chunk_size_s: int, at_once: int, seed: int
) -> None:
    spans, n_samples = file
    options = CutOptions(chunk_size_s=chunk_size_s)
    cutter = Cutter(options, _anywhere(seed))
    found: list[Window] = []
    for first in range(0, len(spans), at_once):
        last = first + at_once
        horizon = spans[last].start if last < len(spans) else 0
        found += cutter.add(spans[first:last], horizon)
    found += cutter.finish()
    assert found == cut(spans, n_samples, options, _anywhere(seed))
    whole = list(_pieces_of_the_whole(spans, chunk_size_s * S, _anywhere(seed)))
    assert [window.spans for window in found] == _packed_as_a_whole(whole, chunk_size_s * S)


def _pieces_of_the_whole(
    spans: list[Span], limit: int, quietest: Callable[[int, int], int]
) -> Iterator[Span]:
    for start, end in spans:
        while end - start > limit:
            others = -(-(end - start) // limit) - 1
            earliest = max(limit // 3, min(end - start - others * limit, limit * 2 // 3))
            at = min(max(quietest(start + earliest, start + limit), start + 1), start + limit)
            yield Span(start, at)
            start = at
        yield Span(start, end)


def _packed_as_a_whole(pieces: list[Span], limit: int) -> list[tuple[Span, ...]]:
    """The cheapest packing of all pieces at once; of equal ones that with the longer last window.

    Costs are added in one order, or rounding would decide between equal ones.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for last in range(1, len(pieces) + 1):
        pauses = 0.0
        choices = []
        for first in range(last - 1, -1, -1):
            length = pieces[last - 1].end - pieces[first].start
            if length > limit:
                break
            if first < last - 1:
                pauses += max(0.0, (pieces[first + 1].start - pieces[first].end) / S - 2)
            gap_s = (pieces[first].start - pieces[first - 1].end) / S if first else 2.0
            border = max(0.0, 2 - gap_s)
            scrap = max(0.0, 3 - length / S)
            choices.append((best[first][0] + border + pauses + (8 + scrap), first))
        best.append(min(choices))
    windows = []
    last = len(pieces)
    while last:
        windows.append(tuple(pieces[best[last][1] : last]))
        last = best[last][1]
    return windows[::-1]


def test_a_window_is_certain_when_nothing_can_join_it_any_more() -> None:
    cutter = Cutter(CutOptions(), _anywhere(0))
    assert list(cutter.add(_spans((1, 4), (6, 9)), horizon=10 * S)) == []
    assert list(cutter.add([], horizon=30 * S)) == []
    assert _times_s(list(cutter.add([], horizon=37 * S))) == [(1, 9)]
    assert cutter.finish() == []


def test_sentences_give_windows_long_before_the_end() -> None:
    rng = np.random.default_rng(4)
    cutter = Cutter(CutOptions(), _anywhere(0))
    position_s = 0.0
    behind_s = []
    while position_s < 3600:
        start_s = position_s + rng.uniform(0.3, 2.5)
        position_s = start_s + rng.uniform(1, 10)
        for window in cutter.add(_spans((start_s, position_s))):
            behind_s.append(position_s - window.end / S)
    assert len(behind_s) > 100
    assert behind_s[0] < 100


def test_a_monologue_gives_its_first_window_before_its_last_is_cut() -> None:
    asked: list[int] = []

    def quietest(start: int, end: int) -> int:
        asked.append(start)
        return (start + end) // 2

    cutter = Cutter(CutOptions(), quietest)
    next(cutter.add(_spans((0, 3600))))
    assert len(asked) < 6


def _spans(*times_s: tuple[float, float]) -> list[Span]:
    return [Span(round(start * S), round(end * S)) for start, end in times_s]


def _times_s(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start / S, window.end / S) for window in windows]


def _cut(*times_s: tuple[float, float]) -> list[tuple[float, float]]:
    return _times_s(cut(_spans(*times_s), 3600 * S, CutOptions(), _anywhere(0)))


def test_the_border_falls_into_the_longest_pause() -> None:
    assert _cut((0, 10), (10.6, 18), (19.9, 28), (28.5, 40)) == [(0, 18), (19.9, 40)]


def test_a_pause_of_some_seconds_does_not_cost_another_window() -> None:
    assert _cut((1, 6), (10, 15)) == [(1, 15)]


def test_long_silence_is_not_given_to_the_recognizer() -> None:
    assert _cut((1, 4), (20, 25)) == [(1, 4), (20, 25)]


def test_a_single_word_stays_with_its_neighbours() -> None:
    assert _cut((0, 20), (23, 23.5), (29, 45)) == [(0, 23.5), (29, 45)]


def test_no_speech_gives_no_windows() -> None:
    assert cut([], 100 * S, CutOptions(), _anywhere(0)) == []
    assert cut([], 0, CutOptions(vad=False), _anywhere(0)) == []


def test_a_long_monologue_is_cut_at_its_quietest_points(tmp_path: Path) -> None:
    waveform = babble(100, seed=3).astype(np.float32)
    dips_s = (22.0, 45.0, 71.0)
    for dip_s in dips_s:
        waveform[round(dip_s * S) : round((dip_s + 0.3) * S)] *= 0.01
    path = tmp_path / "spool"
    with path.open("wb") as file:
        SpoolWriter(file.fileno()).append(waveform)
    with Spool(path) as spool:
        quietest = quietest_in(spool)
        windows = cut([Span(0, len(waveform))], len(waveform), CutOptions(), quietest)
        assert windows == cut([], len(waveform), CutOptions(vad=False), quietest)
    assert [window.seam for window in windows] == [True, True, True, False]
    assert [window.end / S for window in windows[:-1]] == [
        pytest.approx(dip_s + 0.15, abs=0.06) for dip_s in dips_s
    ]


def test_a_span_a_little_too_long_is_cut_in_two_with_room_to_choose() -> None:
    asked: list[tuple[int, int]] = []

    def quietest(start: int, end: int) -> int:
        asked.append((start, end))
        return start

    windows = cut(_spans((0, 31)), 31 * S, CutOptions(), quietest)
    assert asked == [(10 * S, 30 * S)]
    assert _times_s(windows) == [(0, 10), (10, 31)]


@settings(max_examples=50)
@given(n_samples=st.integers(1, 40_000), at=st.floats(0, 1), scale=st.sampled_from([1e-30, 1, 1e9]))
def test_the_quietest_point_is_inside_and_quiet(n_samples: int, at: float, scale: float) -> None:
    waveform = np.full(n_samples, scale, np.float32)
    start = int(at * (n_samples - 1))
    waveform[start : start + 4800] = 0.0
    found = quietest_point(waveform)
    assert 0 <= found < n_samples
    if n_samples > 10_000 and start + 4800 <= n_samples and scale == 1:
        assert start <= found <= start + 4800


def test_a_pause_with_a_breath_beats_a_short_silence_inside_a_word() -> None:
    waveform = babble(10).astype(np.float32)
    waveform[:] = np.where(np.abs(waveform) < 0.05, 0.05, waveform)
    waveform[2 * S : 2 * S + S // 20] = 0.0
    waveform[6 * S : 6 * S + S // 4] *= 0.01
    assert quietest_point(waveform) / S == pytest.approx(6.125, abs=0.05)


def test_a_day_of_speech_is_cut_in_moments() -> None:
    spans = [Span(3 * S * k, 3 * S * k + 2 * S) for k in range(28_800)]
    started = time.process_time()
    windows = cut(spans, 24 * 3600 * S, CutOptions(), _anywhere(0))
    assert len(windows) == 2880
    assert time.process_time() - started < 10
