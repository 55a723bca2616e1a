"""Recognized windows as one transcript, and what we add to OpenAI's `verbose_json`."""

from collections.abc import Sequence
from typing import Any

from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Transcript, Warning
from stenograf.llm.engines.base import WindowResult

Recognized = Sequence[tuple[int, WindowResult]]
"""Windows in order, each with its offset in samples from the first sample of the file."""


def transcript_of(recognized: Recognized, n_samples: int, options: DecodeOptions) -> Transcript:
    """Everything recognized, in the time of the file; nothing is judged or mended here."""
    return Transcript(
        language=_language(recognized, options),
        language_probability=_language_probability(recognized),
        duration=n_samples,
        segments=tuple(
            segment.shifted(offset) for offset, result in recognized for segment in result.segments
        ),
        warnings=tuple(
            _shifted(warning, offset)
            for offset, result in recognized
            for warning in result.warnings
        ),
        task=options.task,
    )


def extras(recognized: Recognized, transcript: Transcript) -> dict[str, Any]:
    """What the backend reads beside OpenAI's fields."""
    return {
        "language_code": transcript.language,
        "language_probability": transcript.language_probability,
        "no_speech_prob": _no_speech(recognized),
        "warnings": [_in_seconds(warning) for warning in transcript.warnings],
    }


def _language(recognized: Recognized, options: DecodeOptions) -> str:
    """The one asked for, or the one heard with most certainty."""
    if options.language != "auto":
        return options.language
    heard = [result for _, result in recognized if result.segments]
    if not heard:
        return recognized[0][1].language if recognized else "und"
    return max(heard, key=lambda result: result.language_probability or 0.0).language


def _language_probability(recognized: Recognized) -> float | None:
    known = [r.language_probability for _, r in recognized if r.language_probability is not None]
    return max(known) if known else None


def _no_speech(recognized: Recognized) -> float | None:
    known = [r.no_speech_prob for _, r in recognized if r.no_speech_prob is not None]
    return min(known) if known else None


def _shifted(warning: Warning, offset: int) -> Warning:
    edges = {"start": warning.start, "end": warning.end}
    moved = {name: at + offset for name, at in edges.items() if at is not None}
    return warning.model_copy(update=moved)


def _in_seconds(warning: Warning) -> dict[str, Any]:
    shape = warning.model_dump(exclude_none=True)
    for edge in ("start", "end"):
        if edge in shape:
            shape[edge] = round(shape[edge] / SAMPLE_RATE, 3)
    return shape
