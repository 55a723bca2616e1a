"""Recognized windows as one transcript, and what we add to OpenAI's `verbose_json`."""

from dataclasses import dataclass
from typing import Any

from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript, Warning
from stenograf.llm.engines.base import WindowResult
from stenograf.transcripts import assemble


@dataclass(frozen=True)
class Heard:
    """What was recognized in samples [start, end) of the sound."""

    start: int
    end: int
    result: WindowResult


class Joined:
    """One sound's windows, as they come in order, become its transcript.

    A sound of a single window is given as it was recognized; of a longer one the words at the cuts
    are mended. Nothing is judged: that is for the backend, which hears silence too.
    """

    def __init__(self, n_samples: int, options: TranscribeOptions) -> None:
        self._n_samples = n_samples
        self._options = options
        self._settling = assemble.Settling(duration=n_samples, options=options, guarded=False)
        self._heard: list[Heard] = []
        self._segments: list[Segment] = []

    def add(self, heard: Heard) -> list[Segment]:
        """The segments that are settled with this window, in the time of the sound."""
        self._heard.append(heard)
        if heard.start == 0 and heard.end == self._n_samples:
            settled = list(heard.result.segments)
        else:
            settled = self._settling.add(
                assemble.WindowResult(
                    start=heard.start,
                    end=heard.end,
                    segments=heard.result.segments,
                    seam_end=heard.end < self._n_samples,
                )
            )
        self._segments += settled
        return settled

    def transcript(self) -> Transcript:
        """The transcript, once every window was added."""
        self._segments += self._settling.finish()
        own = [_shifted(w, heard.start) for heard in self._heard for w in heard.result.warnings]
        return Transcript(
            language=self._language(),
            language_probability=self._language_probability(),
            duration=self._n_samples,
            segments=tuple(self._segments),
            warnings=(*own, *self._settling.warnings),
            task=self._options.decode.task,
        )

    def extras(self, transcript: Transcript) -> dict[str, Any]:
        """What the backend reads beside OpenAI's fields."""
        silence = [heard.result.no_speech_prob for heard in self._heard]
        return {
            "language_code": transcript.language,
            "language_probability": transcript.language_probability,
            "no_speech_prob": min((p for p in silence if p is not None), default=None),
            "warnings": [_in_seconds(warning) for warning in transcript.warnings],
        }

    def _language(self) -> str:
        """The one asked for, or the one heard with most certainty."""
        if self._options.decode.language != "auto":
            return self._options.decode.language
        results = [heard.result for heard in self._heard]
        spoken = [result for result in results if result.segments]
        if not spoken:
            return results[0].language if results else "und"
        return max(spoken, key=lambda result: result.language_probability or 0.0).language

    def _language_probability(self) -> float | None:
        sure = [heard.result.language_probability for heard in self._heard]
        return max((p for p in sure if p is not None), default=None)


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
