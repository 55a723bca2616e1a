import pytest

from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.assemble import WindowResult, assemble

S = SAMPLE_RATE


def said(text: str, *, probability: float | None = None, with_words: bool = True) -> Segment:
    """Three seconds of speech that fill their window."""
    pieces = text.split()
    step = 3 * S // len(pieces)
    words = tuple(
        Word(start=i * step, end=(i + 1) * step, text=f" {piece}", probability=probability)
        for i, piece in enumerate(pieces)
    )
    return Segment(start=0, end=step * len(pieces), text=text, words=words if with_words else ())


def across(first: Segment, second: Segment, *, seam: bool = True) -> Transcript:
    results = [
        WindowResult(0, 3 * S, [first], seam_end=seam),
        WindowResult(3 * S, 6 * S, [second], seam_start=seam),
    ]
    return assemble(results, duration=6 * S, options=TranscribeOptions())


@pytest.mark.parametrize("with_words", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("Мы едем в Моск-", "ву на поезде.", "Мы едем в Москву на поезде."),
        ("Мы едем в Москву.", "Москву на поезде.", "Мы едем в Москву на поезде."),
        ("Мы едем в Моск", "Москву на поезде.", "Мы едем в Москву на поезде."),
        ("Мы едем в Москву", "скву на поезде.", "Мы едем в Москву на поезде."),
        ("Мы едем в Москву.", "на поезде.", "Мы едем в Москву на поезде."),
        ("Мы едем в Москву.", "На поезде.", "Мы едем в Москву. На поезде."),
        ("Это он", "они тоже.", "Это он они тоже."),
        ("Мы едем.", "Едем", "Мы едем"),
    ],
)
def test_a_forced_cut_is_mended(first: str, second: str, joined: str, with_words: bool) -> None:
    transcript = across(said(first, with_words=with_words), said(second, with_words=with_words))
    assert transcript.text == joined
    if with_words:
        spoken = "".join(word.text for segment in transcript.segments for word in segment.words)
        assert spoken.split() == joined.split()


def test_windows_cut_in_silence_are_left_alone() -> None:
    transcript = across(said("Да, точно."), said("точно так."), seam=False)
    assert transcript.text == "Да, точно. точно так."


def test_two_words_the_recognizer_is_sure_of_were_both_said() -> None:
    transcript = across(said("ну нет", probability=0.9), said("нет уж", probability=0.9))
    assert transcript.text == "ну нет нет уж"


def test_a_word_far_from_the_cut_was_not_cut() -> None:
    early = said("Мы едем в Моск").model_copy(update={"end": 2 * S, "words": ()})
    assert across(early, said("Москву на поезде.")).text == "Мы едем в Моск Москву на поезде."


def test_the_mended_word_takes_the_time_of_both_halves() -> None:
    transcript = across(said("едем в Моск-"), said("ву на поезде."))
    word = transcript.segments[0].words[-1]
    assert word.text == " Москву"
    assert word.start == 2 * S
    assert word.end == 4 * S


def test_a_segment_of_which_nothing_remains_disappears() -> None:
    transcript = across(said("Москву"), said("скву"))
    assert [segment.text for segment in transcript.segments] == ["Москву"]
