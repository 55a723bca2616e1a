"""Recognized windows in OpenAI's shapes."""

from collections.abc import Sequence
from typing import Any

from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Warning, Word, join_text
from stenograf.llm.engines.base import WindowResult
from stenograf.transcripts.languages import name_of

Recognized = Sequence[tuple[int, WindowResult]]
"""Windows in order, each with its offset in samples from the first sample of the file."""

_FRAMES_PER_S = 100  # the unit of `seek`


def text_of(recognized: Recognized) -> str:
    """The whole text, segments joined by single spaces."""
    return join_text(s.text for _, result in recognized for s in result.segments)


def plain_json(recognized: Recognized, n_samples: int) -> dict[str, Any]:
    """`response_format=json`."""
    return {"text": text_of(recognized), "usage": _usage(n_samples)}


def verbose_json(
    recognized: Recognized, n_samples: int, options: DecodeOptions, with_words: bool
) -> dict[str, Any]:
    """`response_format=verbose_json`, with the language's code and the warnings beside it."""
    language = _language(recognized, options)
    segments = [(offset, segment) for offset, result in recognized for segment in result.segments]
    body: dict[str, Any] = {
        "task": options.task,
        "language": name_of(language),
        "language_code": language,
        "language_probability": _language_probability(recognized),
        "duration": _seconds(n_samples),
        "text": text_of(recognized),
        "segments": [_segment(i, offset, s) for i, (offset, s) in enumerate(segments)],
        "no_speech_prob": _no_speech(recognized),
        "warnings": [
            _warning(offset, warning)
            for offset, result in recognized
            for warning in result.warnings
        ],
        "usage": _usage(n_samples),
    }
    if with_words:
        body["words"] = [_word(offset, word) for offset, s in segments for word in s.words]
    return body


def _language(recognized: Recognized, options: DecodeOptions) -> str:
    """The one asked for, or the one heard with most certainty."""
    if options.language != "auto":
        return options.language
    heard = [result for _, result in recognized if result.segments]
    if not heard:
        return recognized[0][1].language if recognized else "ru"
    return max(heard, key=lambda result: result.language_probability or 0.0).language


def _language_probability(recognized: Recognized) -> float | None:
    known = [r.language_probability for _, r in recognized if r.language_probability is not None]
    return max(known) if known else None


def _no_speech(recognized: Recognized) -> float | None:
    known = [r.no_speech_prob for _, r in recognized if r.no_speech_prob is not None]
    return min(known) if known else None


def _segment(index: int, offset: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": index,
        "seek": offset * _FRAMES_PER_S // SAMPLE_RATE,
        "start": _seconds(offset + segment.start),
        "end": _seconds(offset + segment.end),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _word(offset: int, word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": _seconds(offset + word.start),
        "end": _seconds(offset + word.end),
        "probability": word.probability,
    }


def _warning(offset: int, warning: Warning) -> dict[str, Any]:
    shifted = warning.model_dump(exclude_none=True)
    for edge in ("start", "end"):
        if edge in shifted:
            shifted[edge] = _seconds(offset + shifted[edge])
    return shifted


def _usage(n_samples: int) -> dict[str, Any]:
    return {"type": "duration", "seconds": _seconds(n_samples)}


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
