from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Warning, Word
from stenograf.transcripts.assemble import Settling, WindowResult, assemble

from .strategies import window_results

S = SAMPLE_RATE
OPTIONS = TranscribeOptions()


def heard(text: str, start_s: float, end_s: float) -> Segment:
    return Segment(start=round(start_s * S), end=round(end_s * S), text=text)


def window(start_s: float, end_s: float, *segments: Segment, **flags: object) -> WindowResult:
    return WindowResult(round(start_s * S), round(end_s * S), segments, **flags)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(window_results(), st.none() | st.just([]) | st.just([(0, 10**9)]))
def test_times_are_ordered_and_inside_the_file(
    case: tuple[list[WindowResult], int], speech: list[tuple[int, int]] | None
) -> None:
    results, duration = case
    transcript = assemble(results, duration=duration, options=OPTIONS, speech=speech)
    for segment in transcript.segments:
        assert 0 <= segment.start <= segment.end <= duration
        assert segment.text == segment.text.strip() != ""
        assert segment.text.isprintable() or segment.text.encode("utf-8")
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end
        for word, following in pairwise(segment.words):
            assert word.end <= following.start
    for segment, following in pairwise(transcript.segments):
        assert segment.end <= following.start
    assert transcript.segments or "no_s" in transcript.warnings[-1].code


@settings(max_examples=60)
@given(window_results(), st.integers(0, 2**32))
def test_the_order_in_which_windows_finish_does_not_matter(
    case: tuple[list[WindowResult], int], seed: int
) -> None:
    results, duration = case
    distinct = list({(r.start, r.end): r for r in results}.values())
    shuffled = Random(seed).sample(distinct, len(distinct))
    assert assemble(shuffled, duration=duration, options=OPTIONS) == assemble(
        distinct, duration=duration, options=OPTIONS
    )


@settings(max_examples=60)
@given(window_results())
def test_every_word_is_kept_or_listed(case: tuple[list[WindowResult], int]) -> None:
    results, duration = case
    unseamed = [WindowResult(r.start, r.end, r.segments) for r in results]
    transcript = assemble(unseamed, duration=duration, options=OPTIONS)
    removed = " ".join(w.text or "" for w in transcript.warnings)
    given_text = " ".join(s.text for r in results for s in r.segments)
    assert sorted(printable(transcript.text + removed)) == sorted(printable(given_text))


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and not char.isspace())


def test_window_time_becomes_file_time() -> None:
    words = (Word(start=8_000, end=16_000, text=" да"),)
    segment = Segment(start=8_000, end=16_000, text=" да", words=words)
    transcript = assemble([window(100, 110, segment)], duration=200 * S, options=OPTIONS, model="m")
    assert transcript.segments[0].start == 100 * S + 8_000
    assert transcript.segments[0].words[0].end == 101 * S
    assert transcript.text == "да"
    assert (transcript.language, transcript.model, transcript.duration_s) == ("ru", "m", 200)


def test_text_behind_the_sound_is_removed_and_listed() -> None:
    transcript = assemble(
        [window(0, 4, heard("Да.", 0, 4), heard("Придумано.", 5, 29))],
        duration=4 * S,
        options=OPTIONS,
    )
    assert transcript.text == "Да."
    assert [(w.code, w.text) for w in transcript.warnings] == [("outside_window", "Придумано.")]


def test_rounding_past_the_end_is_no_reason_to_remove() -> None:
    transcript = assemble(
        [window(0, 4, heard("Да.", 0, 4.02), heard("Нет.", 4.02, 5))],
        duration=4 * S,
        options=OPTIONS,
    )
    assert transcript.text == "Да. Нет."
    assert transcript.segments[-1].end == 4 * S


def test_control_characters_and_half_characters_do_not_survive() -> None:
    transcript = assemble(
        [window(0, 4, heard("Да\x00\n\ud800нет\u2028.", 0, 4))], duration=4 * S, options=OPTIONS
    )
    assert transcript.text == "Да нет ."


@pytest.mark.parametrize(
    ("duration", "results", "speech", "code", "message"),
    [
        (0, [], None, "no_sound", "no sound"),
        (9 * S, [], [], "no_speech", "No speech was found"),
        (9 * S, [window(0, 9)], [(0, 9 * S)], "no_speech", "heard no words"),
        (9 * S, [window(0, 9, heard("...", 0, 1))], None, "no_speech", "removed"),
    ],
)
def test_empty_text_has_a_reason(
    duration: int,
    results: list[WindowResult],
    speech: list[tuple[int, int]] | None,
    code: str,
    message: str,
) -> None:
    transcript = assemble(results, duration=duration, options=OPTIONS, speech=speech)
    assert transcript.text == ""
    assert transcript.warnings[-1].code == code
    assert message in transcript.warnings[-1].message


def test_earlier_stages_speak_first_in_the_warnings() -> None:
    early = Warning(code="nan_zeroed", message="Broken samples were silenced.")
    transcript = assemble([], duration=9, options=OPTIONS, speech=[], warnings=[early])
    assert [w.code for w in transcript.warnings] == ["nan_zeroed", "no_speech"]


def test_detected_language_is_the_one_most_sound_was_heard_in() -> None:
    auto = TranscribeOptions(decode=DecodeOptions(language="auto"))
    results = [
        window(0, 30, language="ru", language_probability=0.9),
        window(30, 40, language="en", language_probability=1.0),
        window(40, 60),
    ]
    transcript = assemble(results, duration=60 * S, options=auto)
    assert transcript.language == "ru"
    assert transcript.language_probability == pytest.approx(27 / 40)
    assert assemble([], duration=1, options=auto).language == "und"


@settings(max_examples=60)
@given(window_results())
def test_what_is_settled_never_changes(case: tuple[list[WindowResult], int]) -> None:
    ordered = sorted(case[0], key=lambda result: (result.start, result.end))
    settling = Settling(duration=case[1], options=OPTIONS)
    settled: list[Segment] = []
    for count, result in enumerate(ordered, start=1):
        settled += settling.add(result)
        # Seen from its beginning alone, the file has the same segments but one at a cut.
        so_far = list(
            assemble(_as_planned(ordered[:count]), duration=case[1], options=OPTIONS).segments
        )
        assert settled == so_far[: len(settled)]
        assert len(so_far) - len(settled) <= result.seam_end
    assert [*settled, *settling.finish()] == so_far


def _as_planned(results: list[WindowResult]) -> list[WindowResult]:
    """A plan says of a border only that the window before it ends inside speech."""
    return [replace(result, seam_start=False) for result in results]
