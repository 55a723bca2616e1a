"""Spans found while the recording is still heard are those of the whole recording."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stenograf.audio.spans import FRAME_SAMPLES, Span, SpanFinder
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE

LEVELS = [0.0, 0.3, 0.35, 0.5, 0.55, 0.7, 1.0]


@st.composite
def probabilities(draw: st.DrawFn) -> NDArray[np.float32]:
    """Runs of equal probabilities, some just at a threshold."""
    runs = draw(st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(1, 40)), max_size=25))
    levels = np.array([level for level, _ in runs], np.float32)
    return np.repeat(levels, [n_frames for _, n_frames in runs])


@st.composite
def cut_options(draw: st.DrawFn) -> CutOptions:
    return CutOptions(
        vad_threshold=draw(st.sampled_from([0.005, 0.1, 0.5, 0.7])),
        min_silence_ms=draw(st.integers(50, 1500)),
        min_speech_ms=draw(st.integers(0, 800)),
        speech_pad_ms=draw(st.sampled_from([0, 30, 200, 1000, 2000])),
    )


@settings(max_examples=400)
@given(
    probabilities=probabilities(),
    options=cut_options(),
    cuts=st.lists(st.floats(0, 1), max_size=10),
    missing=st.integers(0, FRAME_SAMPLES - 1),
)
def test_found_in_pieces_they_equal_those_of_the_whole(
    probabilities: NDArray[np.float32], options: CutOptions, cuts: list[float], missing: int
) -> None:
    n_samples = max(0, len(probabilities) * FRAME_SAMPLES - missing)
    finder = SpanFinder(options)
    found: list[Span] = []
    for piece in np.split(probabilities, sorted(int(cut * len(probabilities)) for cut in cuts)):
        horizon = finder.horizon
        spans = finder.add(piece)
        assert all(span.start >= horizon for span in spans)
        found += spans
    horizon = finder.horizon
    last = finder.finish(n_samples)
    assert all(span.start >= horizon for span in last)
    assert found + last == spans_of_the_whole(probabilities, options, n_samples)


def test_a_span_is_certain_soon_after_its_end() -> None:
    finder = SpanFinder(CutOptions())
    assert finder.add(np.ones(100, np.float32)) == []
    heard = 0
    while not (spans := finder.add(np.zeros(1, np.float32))):
        heard += 1
    assert spans == [Span(0, 100 * FRAME_SAMPLES + SAMPLE_RATE // 5)]
    assert heard * FRAME_SAMPLES < 0.6 * SAMPLE_RATE


def spans_of_the_whole(
    probabilities: NDArray[np.float32], options: CutOptions, n_samples: int
) -> list[Span]:
    """The rules over a whole recording at once, with arrays."""
    begin = options.vad_threshold
    stay = max(begin - 0.15, min(begin, 0.01))
    min_silence, min_speech, pad = (
        value * SAMPLE_RATE // 1000
        for value in (options.min_silence_ms, options.min_speech_ms, options.speech_pad_ms)
    )
    runs: list[Span] = []
    for first, last in _frame_runs(probabilities >= begin, probabilities >= stay):
        start, end = first * FRAME_SAMPLES, min(last * FRAME_SAMPLES, n_samples)
        if runs and start - runs[-1].end < min_silence:
            runs[-1] = Span(runs[-1].start, end)
        else:
            runs.append(Span(start, end))
    runs = [run for run in runs if run.end - run.start >= min_speech]
    spans = []
    for index, run in enumerate(runs):
        start, end = max(0, run.start - pad), min(n_samples, run.end + pad)
        if index:
            start = max(start, (runs[index - 1].end + run.start) // 2)
        if index + 1 < len(runs):
            end = min(end, (run.end + runs[index + 1].start) // 2)
        spans.append(Span(start, end))
    return spans


def _frame_runs(begins: NDArray[np.bool_], stays: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(stays.astype(np.int8), prepend=0, append=0))
    for first, last in edges.reshape(-1, 2).tolist():
        inside = np.flatnonzero(begins[first:last])
        if len(inside):
            yield first + int(inside[0]), last
