"""The only result type: what was said, when, by whom, and what was left out.

Times are integer samples at 16 kHz counted from the first sample of the file; they become seconds
only where they are rendered (`.start_s`, `.end_s`), so nothing drifts on the way.
"""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stenograf.contract.pcm import SAMPLE_RATE

__all__ = ["Level", "Levels", "Segment", "TokenScore", "Transcript", "Turn", "Warning", "Word"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Timed(_Frozen):
    start: int = Field(ge=0, description="first sample, 16 kHz")
    end: int = Field(ge=0, description="sample after the last, 16 kHz")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        return self

    @property
    def start_s(self) -> float:
        """Start in seconds."""
        return self.start / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """End in seconds."""
        return self.end / SAMPLE_RATE

    def shifted(self, offset: int) -> Self:
        """The same thing `offset` samples later."""
        return self.model_copy(update={"start": self.start + offset, "end": self.end + offset})


class Word(_Timed):
    """One recognized word; `text` carries its leading space, as the recognizer gave it."""

    text: str
    probability: float | None = Field(None, ge=0, le=1)
    speaker: str | None = None


class TokenScore(_Frozen):
    """One token as the recognizer wrote it; a letter may be spread over several tokens."""

    utf8: tuple[int, ...] = Field(description="its bytes of the UTF-8 text, leading space included")
    logprob: float = Field(description="natural-log probability")

    @property
    def text(self) -> str:
        """Its text; bytes that are only a part of a letter become U+FFFD."""
        return bytes(self.utf8).decode("utf-8", "replace")


class Segment(_Timed):
    """A phrase: text between two timestamps, with the recognizer's own confidence figures."""

    text: str
    words: tuple[Word, ...] = ()
    tokens: tuple[int, ...] = ()
    scores: tuple[TokenScore, ...] = Field((), description="one per token, where asked for")
    avg_logprob: float | None = Field(None, description="mean natural-log probability per token")
    no_speech_prob: float | None = Field(None, ge=0, le=1)
    compression_ratio: float | None = Field(None, description="utf-8 bytes / zlib bytes")
    temperature: float = 0.0
    speaker: str | None = None

    def shifted(self, offset: int) -> Self:
        """The same segment and its words `offset` samples later."""
        words = tuple(word.shifted(offset) for word in self.words)
        return super().shifted(offset).model_copy(update={"words": words})


class Turn(_Timed):
    """One speaker's stretch of the file; labels are SPEAKER_00, SPEAKER_01, …"""

    speaker: str


class Warning(_Frozen):
    """Something a reader should know: text removed, silence found, a stage that was skipped."""

    code: str = Field(description="stable identifier, e.g. no_speech, repetition_removed")
    message: str = Field(description="one English sentence")
    start: int | None = Field(None, description="first sample concerned, if any")
    end: int | None = Field(None, description="sample after the last concerned, if any")
    text: str | None = Field(None, description="the text that was removed, if any")


class Level(_Frozen):
    """Measured level of a whole file; None where the measure does not exist (silence, < 0.4 s)."""

    peak_db: float | None = Field(None, description="sample peak, dBFS")
    true_peak_db: float | None = Field(None, description="4x oversampled peak, dBTP")
    rms_db: float | None = Field(None, description="root mean square, dBFS")
    lufs: float | None = Field(None, description="integrated loudness, ITU-R BS.1770-4, LUFS")


class Levels(_Frozen):
    """Level before and after normalization, and the one gain that was applied."""

    before: Level
    after: Level
    gain_db: float = 0.0
    method: str = "as is"
    limited: bool = Field(False, description="the true-peak ceiling reduced the gain asked for")


class Transcript(_Frozen):
    """The result of one recording."""

    language: str = "ru"
    language_probability: float | None = None
    duration: int = Field(0, ge=0, description="length of the file in samples, 16 kHz")
    segments: tuple[Segment, ...] = ()
    turns: tuple[Turn, ...] = ()
    warnings: tuple[Warning, ...] = ()
    levels: Levels | None = None
    model: str = ""
    task: Literal["transcribe", "translate"] = "transcribe"

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.duration / SAMPLE_RATE

    @property
    def text(self) -> str:
        """The whole text, segments joined by single spaces."""
        return join_text(segment.text for segment in self.segments)


def join_text(parts: Iterable[str]) -> str:
    """Join pieces of text by one space, dropping the empty ones."""
    return " ".join(stripped for part in parts if (stripped := part.strip()))
