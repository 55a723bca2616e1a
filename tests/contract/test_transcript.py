import pytest
from pydantic import ValidationError

from stenograf.contract.transcript import Segment, Transcript, Word


def test_shifting_moves_the_words_along() -> None:
    word = Word(start=10, end=20, text=" да", probability=0.9)
    segment = Segment(start=5, end=30, text=" да", words=(word,)).shifted(16_000)
    assert (segment.start, segment.end) == (16_005, 16_030)
    assert (segment.words[0].start, segment.words[0].end) == (16_010, 16_020)
    assert segment.start_s == 16_005 / 16_000


def test_an_end_before_its_start_is_refused() -> None:
    with pytest.raises(ValidationError):
        Word(start=2, end=1, text="x", probability=None)


def test_text_joins_segments_by_one_space() -> None:
    parts = (" Да,", "", "  нет. ")
    segments = tuple(Segment(start=0, end=0, text=text) for text in parts)
    transcript = Transcript(segments=segments, duration=8_000)
    assert transcript.text == "Да, нет."
    assert transcript.duration_s == 0.5
    assert Transcript.model_validate_json(transcript.model_dump_json()) == transcript
