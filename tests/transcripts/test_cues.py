from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.clock import milliseconds
from stenograf.transcripts.cues import (
    MAX_CPS,
    MAX_CUE_MS,
    MAX_LINE_CHARS,
    MIN_CUE_MS,
    cues,
)
from stenograf.transcripts.writers import render

from .strategies import transcripts


def spoken(text: str, *, start_s: float = 0.0, cps: float = 14.0, gap_s: float = 0.0) -> Segment:
    cursor = round(start_s * SAMPLE_RATE)
    words = []
    for piece in text.split():
        end = cursor + round(len(piece) / cps * SAMPLE_RATE)
        words.append(Word(start=cursor, end=end, text=f" {piece}"))
        cursor = end + round(gap_s * SAMPLE_RATE)
    return Segment(start=words[0].start, end=words[-1].end, text=text, words=tuple(words))


def of(*segments: Segment) -> Transcript:
    return Transcript(duration=segments[-1].end + 5 * SAMPLE_RATE, segments=segments)


@settings(max_examples=80)
@given(transcripts())
def test_cues_keep_their_limits(transcript: Transcript) -> None:
    shown = cues(transcript)
    last_ms = max(1, milliseconds(transcript.duration))
    for cue in shown:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= MAX_LINE_CHARS for line in cue.lines)
        assert 0 <= cue.start_ms < cue.end_ms <= last_ms
        assert cue.end_ms - cue.start_ms <= MAX_CUE_MS
    for cue, following in pairwise(shown):
        assert cue.start_ms <= following.start_ms
        # an overlap needs speech that takes no time, at the end of the file
        assert cue.end_ms <= following.start_ms or cue.end_ms == last_ms


@settings(max_examples=80)
@given(transcripts())
def test_no_character_is_lost(transcript: Transcript) -> None:
    shown = "".join(line for cue in cues(transcript) for line in cue.lines)
    assert "".join(shown.split()) == "".join(transcript.text.split())


@settings(max_examples=60)
@given(transcripts())
def test_a_cue_is_too_fast_or_too_short_only_where_the_next_one_presses(
    transcript: Transcript,
) -> None:
    shown = cues(transcript)
    last_ms = max(1, milliseconds(transcript.duration))
    borders = [*(cue.start_ms for cue in shown[1:]), last_ms]
    for cue, border in zip(shown, borders, strict=False):
        length_ms = cue.end_ms - cue.start_ms
        needed_ms = min(MAX_CUE_MS, sum(map(len, cue.lines)) * 1000 / MAX_CPS)
        if length_ms < max(MIN_CUE_MS, needed_ms):
            assert cue.end_ms >= border


SILENCE_MS = 5_000
MS = SAMPLE_RATE // 1000


@st.composite
def stretches(draw: st.DrawFn) -> list[Word]:
    """Up to nine words without a pause that would end a cue by itself, slow to very fast."""
    cursor_ms = draw(st.integers(0, 2_000))
    words = []
    for _ in range(draw(st.integers(1, 9))):
        text = draw(st.sampled_from(["и", "дом,", "слово", "сообщение.", "прогнозируемое"]))
        text *= draw(st.sampled_from([1, 1, 2]))
        end_ms = cursor_ms + round(len(text) * draw(st.sampled_from([20, 45, 55, 70, 120])))
        words.append(Word(start=cursor_ms * MS, end=end_ms * MS, text=f" {text}"))
        cursor_ms = end_ms + draw(st.sampled_from([0, 0, 30, 200, 600, 1_200]))
    return words


def _fits_two_lines(texts: Sequence[str]) -> bool:
    return any(
        len(" ".join(texts[:at])) <= MAX_LINE_CHARS and len(" ".join(texts[at:])) <= MAX_LINE_CHARS
        for at in range(1, len(texts) + 1)
    )


def _can_be_shown(words: Sequence[Word], next_ms: int) -> bool:
    """Whether these words, as one cue, are inside every limit."""
    start_ms, end_ms = words[0].start // MS, words[-1].end // MS
    texts = [word.text.strip() for word in words]
    needed_ms = max(MIN_CUE_MS, len(" ".join(texts)) * 1000 / MAX_CPS)
    longest_ms = min(next_ms - start_ms, MAX_CUE_MS)
    shown_ms = max(end_ms - start_ms, min(longest_ms, needed_ms))
    return _fits_two_lines(texts) and needed_ms <= shown_ms <= MAX_CUE_MS


def _some_cut_keeps_the_limits(words: Sequence[Word], end_ms: int) -> bool:
    """Every way to cut, tried."""
    starts = [*(word.start // MS for word in words), end_ms]
    return any(
        all(_can_be_shown(words[a:b], starts[b]) for a, b in pairwise((0, *inner, len(words))))
        for count in range(len(words))
        for inner in combinations(range(1, len(words)), count)
    )


@settings(max_examples=150)
@given(stretches())
def test_cues_are_inside_every_limit_whenever_any_cut_is(words: list[Word]) -> None:
    segment = Segment(
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.text for word in words).strip(),
        words=tuple(words),
    )
    transcript = Transcript(duration=words[-1].end + SILENCE_MS * MS, segments=(segment,))
    shown = cues(transcript)
    inside = all(
        max(MIN_CUE_MS, len(" ".join(cue.lines)) * 1000 / MAX_CPS)
        <= cue.end_ms - cue.start_ms
        <= MAX_CUE_MS
        for cue in shown
    )
    assert inside == _some_cut_keeps_the_limits(words, milliseconds(transcript.duration))


@pytest.mark.parametrize("cps", [8, 12, 14, 16])
def test_speech_at_an_ordinary_pace_is_always_inside_the_limits(cps: float) -> None:
    sentence = "Мастер приедет завтра утром в десять часов, подготовьте документы и ключи."
    for cue in cues(of(spoken(" ".join([sentence] * 30), cps=cps, gap_s=0.06))):
        length_s = (cue.end_ms - cue.start_ms) / 1000
        assert MIN_CUE_MS / 1000 <= length_s <= MAX_CUE_MS / 1000
        assert len(" ".join(cue.lines)) / length_s <= MAX_CPS


def test_breaks_at_the_sentence_rather_than_inside_it() -> None:
    text = "Мастер приедет завтра утром в десять часов. Пожалуйста, подготовьте документы и ключи."
    first, second = cues(of(spoken(text)))
    assert " ".join(first.lines).endswith("часов.")
    assert " ".join(second.lines).startswith("Пожалуйста,")


def test_never_leaves_a_preposition_at_the_end_of_a_cue_when_it_can_help_it() -> None:
    text = (
        "он долго шёл по мокрой дороге через поле и лес в сторону большого города у холодной реки"
    )
    for cue in cues(of(spoken(text))):
        assert cue.lines[-1].split()[-1] not in {"в", "и", "у", "по", "через"}


def test_a_long_pause_ends_a_cue_and_the_text_does_not_linger() -> None:
    first, second = cues(of(spoken("Да."), spoken("Нет, конечно.", start_s=60)))
    assert first.lines == ("Да.",)
    assert first.end_ms - first.start_ms == MIN_CUE_MS
    assert second.start_ms == 60_000


def test_short_words_in_a_row_share_a_cue() -> None:
    shown = cues(of(spoken("Да. Нет. Да. Нет.", cps=10)))
    assert [cue.lines for cue in shown] == [("Да. Нет. Да. Нет.",)]


def test_a_segment_without_words_is_shared_out_over_its_time() -> None:
    text = " ".join(["слово"] * 40)
    transcript = Transcript(
        duration=16 * SAMPLE_RATE, segments=(Segment(start=0, end=16 * SAMPLE_RATE, text=text),)
    )
    shown = cues(transcript)
    assert len(shown) >= 3
    assert shown[0].start_ms == 0
    assert shown[-1].end_ms == 16_000


def test_words_that_contradict_the_text_give_way_to_the_text() -> None:
    segment = spoken("один два").model_copy(update={"text": "Один, два."})
    assert cues(of(segment))[0].lines == ("Один, два.",)


def test_a_word_longer_than_a_line_is_broken() -> None:
    shown = cues(of(spoken("ы" * 200)))
    assert all(len(line) <= MAX_LINE_CHARS for cue in shown for line in cue.lines)
    assert sum(len(line) for cue in shown for line in cue.lines) == 200


def test_speakers_part_cues_and_are_named_at_a_change() -> None:
    one = spoken("Алло, это мастерская?").model_copy(update={"speaker": "SPEAKER_00"})
    two = spoken("Да, слушаю вас.", start_s=2).model_copy(update={"speaker": "SPEAKER_01"})
    three = spoken("Хорошо.", start_s=4).model_copy(update={"speaker": "SPEAKER_01"})
    shown = cues(of(one, two, three), label_speakers=True)
    assert [cue.speaker for cue in shown][:2] == ["SPEAKER_00", "SPEAKER_01"]
    text = [" ".join(cue.lines) for cue in shown]
    assert text[0] == "[SPEAKER_00] Алло, это мастерская?"
    assert text[1].startswith("[SPEAKER_01] Да,")
    assert sum("[SPEAKER_01]" in line for line in text) == 1


def test_three_strict_readers_read_the_very_instants_of_an_hour() -> None:
    """2.57 s apart, the cues begin at every hundredth of a second."""
    starts_ms = np.arange(0, 3_600_000, 2_570)
    assert len(np.unique(starts_ms % 1000)) == 100
    hour = of(*(spoken("Да.", start_s=int(start_ms) / 1000) for start_ms in starts_ms))
    subrip = render(hour, "srt").body.decode()
    vtt = render(hour, "vtt").body.decode()
    read = {
        "srt": [
            (round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000))
            for cue in srt.parse(subrip, ignore_errors=False)
        ],
        "webvtt": [(_ms(cue.start), _ms(cue.end)) for cue in webvtt.from_string(vtt).captions],
        "pysubs2 srt": [
            (e.start, e.end) for e in pysubs2.SSAFile.from_string(subrip, format_="srt")
        ],
        "pysubs2 vtt": [(e.start, e.end) for e in pysubs2.SSAFile.from_string(vtt, format_="vtt")],
    }
    expected = np.stack([starts_ms, starts_ms + MIN_CUE_MS], axis=1)
    for reader, times_ms in read.items():
        np.testing.assert_array_equal(np.array(times_ms), expected, err_msg=reader)


def _ms(time: str) -> int:
    hours, minutes, seconds = time.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + int(seconds.replace(".", ""))
