"""Reads what the model service answers: `verbose_json` from any OpenAI-like server, and errors."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from stenograf.backend.records import Heard
from stenograf.contract.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotReady,
    NetworkTimeout,
    OutOfResources,
    Overloaded,
    StenografError,
    Unavailable,
    by_code,
)
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, TokenScore, Word
from stenograf.transcripts.languages import code_of

_BY_STATUS: Mapping[int, type[StenografError]] = {
    404: ModelNotFound,
    408: NetworkTimeout,
    429: Overloaded,
    504: NetworkTimeout,
    507: OutOfResources,
}
_MAX_MESSAGE_CHARS = 500
_MAX_RETRY_AFTER_S = 3600.0
_MISSING = "LLM_ENDPOINT names the server, LLM_MODEL the model on it."
_LEAST_LOGPROB = -100.0  # what stands for minus infinity, which JSON cannot say


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> StenografError:
    """The error that an answer other than 200 means; its class decides whether to try again.

    Its sentence is our own service's, or says what another server said.
    """
    code, message = _code_and_message(body, headers)
    retry_after_s = _seconds_of(headers.get("retry-after"))
    if status in (401, 403):  # the operator's business, not that of whoever sent the recording
        return ModelNotReady(
            f"The model service refuses the backend's key. {_quoted(message)}".strip(),
            hint="Set LLM_API_KEY to the key that it asks for.",
            retry_after_s=retry_after_s,
        )
    kind = by_code(code)
    known = kind is not StenografError
    if not known or (status >= 500) != (kind.status >= 500):
        kind = _BY_STATUS.get(status, Unavailable if status >= 500 else BadRequest)
    said = message if known else _quoted(message)
    return kind(
        said or f"The model service answered with status {status}.",
        hint=_MISSING if kind is ModelNotFound and not known else None,
        retry_after_s=retry_after_s,
    )


def _quoted(message: str) -> str:
    return f"The model service said: {message}" if message else ""


def failure_in(status: int, headers: Mapping[str, str], body: bytes) -> StenografError | None:
    """The error of an answer, None if it holds a transcript.

    A failure after a long answer had begun stands in its body under the status 200.
    """
    if status != 200:
        return error_of(status, headers, body)
    if not body.lstrip().startswith(b'{"error"'):
        return None
    code, _ = _code_and_message(body, headers)
    return error_of(by_code(code).status, headers, body)


def _code_and_message(body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        plain = headers.get("content-type", "").startswith("text/plain")
        return "", _sentence(body.decode("utf-8", "replace")) if plain else ""
    error = answer.get("error", answer) if isinstance(answer, dict) else {}
    if not isinstance(error, dict):
        return "", _sentence(error)
    message = error.get("message") or error.get("detail") or ""
    if isinstance(message, list):  # FastAPI's, one for each field
        message = "; ".join(_of_field(row) for row in message)
    return str(error.get("code") or ""), _sentence(message)


def _of_field(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    where = row.get("loc")
    name = str(where[-1]) if isinstance(where, list) and where else ""
    return f"{name}: {row.get('msg')}" if name else str(row.get("msg"))


def _sentence(message: Any) -> str:
    return " ".join(str(message).split())[:_MAX_MESSAGE_CHARS]


def _seconds_of(retry_after: str | None) -> float | None:
    """Seconds or a date, as HTTP has it; None for anything else."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None


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
        words = [_word(row, n_samples) for row in answer.get("words") or ()]
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
    return Segment(
        start=start,
        end=end,
        text=str(row["text"]),
        words=tuple(_word(word, n_samples) for word in row.get("words") or ()),
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
