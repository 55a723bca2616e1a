"""Parts of a transcript."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.excerpt import excerpt


def said(*texts: str, segment_text: str) -> Transcript:
    """One segment, a word a second."""
    words = tuple(
        Word(start=n * 16_000, end=(n + 1) * 16_000, text=text) for n, text in enumerate(texts)
    )
    end = len(words) * 16_000
    segment = Segment(start=0, end=end, text=segment_text, words=words, tokens=(1, 2, 3))
    return Transcript(duration=end, segments=(segment,))


@pytest.mark.parametrize(
    ("texts", "whole", "part"),
    [
        ((" раз", " два", ",", " три"), "раз два, три", "два,"),
        (("раз", "два", "три", "пять"), "раз два три пять", "два три"),
        (("一", "二", "三", "四"), "一二三四", "二三"),
    ],
)
def test_the_words_between(texts: tuple[str, ...], whole: str, part: str) -> None:
    cut = excerpt(said(*texts, segment_text=whole), 16_000, 48_000)
    assert cut.text == part
    assert (cut.segments[0].start, cut.segments[0].end) == (16_000, 48_000)
    assert cut.duration == 64_000


def test_a_segment_without_words_is_in_or_out() -> None:
    transcript = Transcript(duration=10, segments=(Segment(start=2, end=6, text="да"),))
    assert excerpt(transcript, 4, 5) == transcript
    assert excerpt(transcript, 5, 10).segments == ()


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=6))
def test_neighbouring_parts_hold_every_word_once(cuts: list[int]) -> None:
    transcript = said(*[f" с{n}" for n in range(6)], segment_text="с0 с1 с2 с3 с4 с5")
    edges = [0, *sorted(cuts), 10**9]
    parts = [excerpt(transcript, start, end) for start, end in pairwise(edges)]
    assert " ".join(filter(None, (part.text for part in parts))) == transcript.text
