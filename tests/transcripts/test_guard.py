import pytest

from stenograf.contract.options import GuardOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Word
from stenograf.transcripts.guard import bare, compression_ratio, guard, speech_samples

S = SAMPLE_RATE
OPTIONS = GuardOptions()


def segment(text: str, *, start_s: float = 0, end_s: float = 3, **figures: float) -> Segment:
    return Segment.model_validate(
        {"start": round(start_s * S), "end": round(end_s * S), "text": text, **figures}
    )


def test_sure_text_over_speech_is_left_as_it_is() -> None:
    said = segment("Добрый день.", avg_logprob=-0.2, no_speech_prob=0.01, compression_ratio=1.0)
    assert guard([said], OPTIONS, [(0, 3 * S)]).segments == [said]
    assert guard([said], OPTIONS, [(0, 3 * S)]).warnings == []


def test_text_without_letters_is_listed_and_dropped() -> None:
    out = guard([segment("... ♪ —")], OPTIONS, None)
    assert out.segments == []
    assert [(w.code, w.text) for w in out.warnings] == [("no_words", "... ♪ —")]


@pytest.mark.parametrize(
    ("no_speech_prob", "avg_logprob", "speech", "kept"),
    [
        (0.9, -1.5, None, False),
        (0.9, -0.3, None, True),  # silent by one figure only: Whisper keeps it, so do we
        (0.1, -1.5, None, True),
        (0.1, -1.5, [(0, 3 * S)], True),
        (0.1, -1.5, [(3 * S, 4 * S)], False),
        (0.1, -1.5, [], False),
        (0.1, -0.3, [], True),
    ],
)
def test_no_speech_needs_doubt_and_silence(
    no_speech_prob: float, avg_logprob: float, speech: list[tuple[int, int]] | None, kept: bool
) -> None:
    heard = segment("и ещё раз", no_speech_prob=no_speech_prob, avg_logprob=avg_logprob)
    out = guard([heard], OPTIONS, speech)
    assert bool(out.segments) is kept
    assert [w.code for w in out.warnings] == ([] if kept else ["no_speech"])


def test_thresholds_come_from_the_options() -> None:
    heard = segment("и ещё раз", no_speech_prob=0.5, avg_logprob=-0.7)
    strict = GuardOptions(no_speech_threshold=0.4, logprob_threshold=-0.5)
    assert guard([heard], strict, None).segments == []


CREDITS = [
    "Субтитры сделал DimaTorzok",
    "Субтитры создавал DimaTorzok.",
    "Редактор субтитров А.Семкин Корректор А.Егорова",
    "Субтитры подогнал «Симон»!",
    "Продолжение следует...",
    "ПРОДОЛЖЕНИЕ СЛЕДУЕТ",
    "Спасибо за просмотр!",
    "Подписывайтесь на канал, ставьте лайки!",
    "Thank you for watching!",
    "Subtitles by the Amara.org community",
]


@pytest.mark.parametrize("text", CREDITS)
def test_credits_go_only_where_nobody_speaks(text: str) -> None:
    invented = segment(text, avg_logprob=-0.2, no_speech_prob=0.1)
    silent = guard([invented], OPTIONS, [(10 * S, 12 * S)])
    assert silent.segments == []
    assert [(w.code, w.text, w.start, w.end) for w in silent.warnings] == [
        ("credits_removed", text, 0, 3 * S)
    ]
    assert guard([invented], OPTIONS, [(0, 3 * S)]).segments == [invented]
    assert guard([invented], OPTIONS, None).segments == [invented]


@pytest.mark.parametrize(
    "text",
    [
        "Он сказал: продолжение следует, и вышел.",
        "Субтитры были плохие.",
        "Спасибо за просмотр документов, я перезвоню вам в понедельник утром.",
        "Редактор позвонил вчера вечером, а корректор так и не пришёл, сказали мы директору.",
    ],
)
def test_credit_words_inside_real_sentences_stay(text: str) -> None:
    said = segment(text, avg_logprob=-0.2, no_speech_prob=0.1)
    assert guard([said], OPTIONS, []).segments == [said]


def test_a_loop_keeps_its_first_round_and_the_words_with_it() -> None:
    pieces = ["Добрый", "день,", *["и", "ещё", "раз"] * 30]
    words = tuple(
        Word(start=i * 100, end=i * 100 + 90, text=f" {piece}") for i, piece in enumerate(pieces)
    )
    looped = segment(" ".join(pieces), compression_ratio=9.0).model_copy(update={"words": words})
    out = guard([looped], OPTIONS, None)
    assert out.segments[0].text == "Добрый день, и ещё раз"
    assert [w.text.strip() for w in out.segments[0].words] == out.segments[0].text.split()
    assert out.segments[0].compression_ratio == compression_ratio("Добрый день, и ещё раз")
    assert [w.code for w in out.warnings] == ["repetition_removed"]
    assert out.warnings[0].text == " ".join(["и ещё раз"] * 29)


def test_a_loop_inside_one_word_is_a_loop_too() -> None:
    looped = segment(f"Ну {'ха' * 100}, ладно.")
    out = guard([looped], OPTIONS, None)
    assert out.segments[0].text == "Ну ха, ладно."
    assert [w.code for w in out.warnings] == ["repetition_removed"]
    assert len(out.warnings[0].text or "") == 99 * 2


def test_the_same_segment_over_and_over_stays_once() -> None:
    rounds = [segment("Всё хорошо.", start_s=i, end_s=i + 1) for i in range(12)]
    out = guard(rounds, OPTIONS, None)
    assert out.segments == rounds[:1]
    assert [w.code for w in out.warnings] == ["repetition_removed"] * 11


@pytest.mark.parametrize(
    "text",
    [
        "Нет, нет, нет, нет!",
        "Ноль ноль семь, ноль ноль семь, пять, пять, пять.",
        "Раз, два, три. Раз, два, три. Раз, два, три.",
    ],
)
def test_people_may_repeat_themselves(text: str) -> None:
    said = segment(text, compression_ratio=1.5)
    assert guard([said], OPTIONS, None).segments == [said]


def test_a_high_ratio_without_a_loop_removes_nothing() -> None:
    said = [segment("Первое предложение о погоде.", compression_ratio=2.9)]
    assert guard(said, OPTIONS, None).segments == said


def test_speech_is_counted_exactly() -> None:
    speech = [(10, 20), (30, 40), (50, 60)]
    for start in range(0, 70, 3):
        for end in range(start, 70, 4):
            expected = sum(any(a <= i < b for a, b in speech) for i in range(start, end))
            assert speech_samples(speech, start, end) == expected


def test_bare_forgets_case_marks_and_yo() -> None:
    assert bare(" Всё, что «было»… ") == "все что было"
