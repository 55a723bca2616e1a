"""Reads the transcript of a window: `verbose_json` or plain text from any OpenAI-like server."""

import math
from collections.abc import Sequence
from typing import Any

from stenograf.backend.records import Heard
from stenograf.contract.errors import Unavailable
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, TokenScore, Word
from stenograf.transcripts.languages import code_of

_LEAST_LOGPROB = -100.0  # what stands for minus infinity, which JSON cannot say


def read_heard(answer: Any, n_samples: int, asked_language: str) -> Heard:
    """A `verbose_json` answer for a window of `n_samples`, its times in samples of the window.

    Of an answer with text only, the text is one segment as long as the window. Raises Unavailable
    when the answer has neither text nor segments, or they are not of that shape.
    """
    try:
        if not isinstance(answer.get("text"), str) and not isinstance(answer.get("segments"), list):
            raise ValueError("neither text nor segments")
        segments = [_segment(row, n_samples) for row in answer.get("segments") or ()]
        if not segments and str(answer.get("text") or "").strip():
            segments = [Segment(start=0, end=n_samples, text=str(answer["text"]))]
        words = _words(answer.get("words") or (), n_samples)
        spoken = str(answer.get("language_code") or answer.get("language") or "")
        return Heard(
            segments=tuple(_with_words(segments, words) if words else segments),
            language=code_of(spoken) or ("" if asked_language == "auto" else asked_language),
            language_probability=_share(answer.get("language_probability")),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        message = "The model service answered in a shape that is not OpenAI's verbose_json."
        raise Unavailable(message) from error


def _segment(row: Any, n_samples: int) -> Segment:
    start, end = _times(row, n_samples)
    text = str(row["text"])
    return Segment(
        start=start,
        end=end,
        text=text,
        words=tuple(_whole(_words(row.get("words") or (), n_samples), text)),
        tokens=tuple(int(token) for token in row.get("tokens") or ()),
        scores=tuple(_score(token) for token in row.get("logprobs") or ()),
        avg_logprob=_finite(row.get("avg_logprob")),
        no_speech_prob=_share(row.get("no_speech_prob")),
        compression_ratio=_finite(row.get("compression_ratio")),
        temperature=_finite(row.get("temperature")) or 0.0,
    )


def _score(row: Any) -> TokenScore:
    utf8 = row.get("bytes")
    if utf8 is None:
        utf8 = str(row["token"]).encode("utf-8", "replace")
    logprob = float(row["logprob"])
    return TokenScore(
        utf8=tuple(int(byte) & 0xFF for byte in utf8),
        logprob=logprob if math.isfinite(logprob) else _LEAST_LOGPROB,
    )


def _words(rows: Sequence[Any], n_samples: int) -> list[Word]:
    """The words, or none of them where some have no times: none are made up."""
    if any(row.get("start") is None or row.get("end") is None or row["end"] < 0 for row in rows):
        return []
    return [_word(row, n_samples) for row in rows]


def _whole(words: Sequence[Word], text: str) -> list[Word]:
    """Words put together from tokens, as whisper.cpp gives them; none where letters are broken."""
    if any("\ufffd" in word.text for word in words) and "\ufffd" not in text:
        return []
    spaced = any(word.text[:1].isspace() for word in words)
    whole: list[Word] = []
    for word in words:
        if spaced and whole and not word.text[:1].isspace():
            before = whole[-1]
            end, together = max(before.end, word.end), before.text + word.text
            whole[-1] = before.model_copy(update={"end": end, "text": together})
        else:
            whole.append(word)
    return whole


def _word(row: Any, n_samples: int) -> Word:
    start, end = _times(row, n_samples)
    probability = _share(row.get("probability", row.get("score")))
    return Word(start=start, end=end, text=str(row["word"]), probability=probability)


def _times(row: Any, n_samples: int) -> tuple[int, int]:
    # Times behind the window's end are kept: the guard decides about text from the padding.
    start = max(0, round(float(row["start"]) * SAMPLE_RATE))
    end = max(start, round(float(row["end"]) * SAMPLE_RATE))
    longest = 2 * n_samples + 30 * SAMPLE_RATE
    return min(start, longest), min(end, longest)


def _with_words(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """Deal OpenAI's one flat list of words out to the segments.

    By letters where both spell the same text, which is exact; else by each word's middle.
    """
    if any(segment.words for segment in segments):
        return list(segments)
    lengths = [_letters(segment.text) for segment in segments]
    by_letters = sum(lengths) == sum(_letters(word.text) for word in words)
    dealt: list[list[Word]] = [[] for _ in segments]
    at, seen = 0, 0
    for word in words:
        if by_letters:
            while at < len(segments) - 1 and seen >= sum(lengths[: at + 1]):
                at += 1
            seen += _letters(word.text)
        else:
            middle = (word.start + word.end) / 2
            while at < len(segments) - 1 and middle >= segments[at + 1].start:
                at += 1
        if dealt:
            dealt[at].append(word)
    return [
        segment.model_copy(update={"words": tuple(_spaced(segment.text, own))})
        for segment, own in zip(segments, dealt, strict=True)
    ]


def _spaced(text: str, words: Sequence[Word]) -> list[Word]:
    """The words with the space before them that the text has and OpenAI's list leaves out.

    From the first word that the text does not go on with, words stay as they are.
    """
    spaced: list[Word] = []
    at = 0
    for word in words:
        bare = word.text.strip()
        start = len(text) - len(text[at:].lstrip())
        if not bare or not text.startswith(bare, start):
            return [*spaced, *words[len(spaced) :]]
        spaced.append(word.model_copy(update={"text": text[at:start] + bare}))
        at = start + len(bare)
    return spaced


def _letters(text: str) -> int:
    return len("".join(text.split()))


def _finite(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _share(value: Any) -> float | None:
    number = _finite(value)
    return None if number is None else min(1.0, max(0.0, number))
