"""Every knob of a transcription, once: default, range, unit, help text.

The page draws its controls from these fields, the API validates with them, and `key()` of the
whole is what the cache, the job table and the batcher compare.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stenograf.contract.pcm import MAX_WINDOW_S

DEFAULT_LANGUAGE = "ru"
"""What whoever names no language speaks, unless a setting says otherwise."""

NormalizeMethod = Literal["auto", "as is", "peak", "rms", "lufs"]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NormalizeOptions(_Options):
    """How loud the recognizer hears the file: one gain for the whole recording."""

    method: NormalizeMethod = Field(
        "auto",
        description="auto leaves a good level alone and lifts or lowers a bad one; as is never "
        "touches it; peak, rms and lufs bring the named measure to its target",
    )
    target_peak: float = Field(
        0.95, gt=0, le=1, description="peak only: linear sample peak to reach"
    )
    target_db: float = Field(
        -20.0, ge=-40, le=-10, description="rms: dBFS to reach; lufs: LUFS to reach"
    )
    ceiling_db: float = Field(
        -1.0,
        ge=-12,
        le=0,
        description="auto, rms, lufs: true peak stays under this, dBTP; the gain gives way",
    )


class CutOptions(_Options):
    """Where the file is cut into windows for the recognizer."""

    chunk_size_s: int = Field(
        MAX_WINDOW_S, ge=1, le=MAX_WINDOW_S, description="longest window, seconds"
    )
    vad: bool = Field(True, description="leave silence out; off: every second is recognized")
    vad_threshold: float = Field(0.5, gt=0, lt=1, description="speech probability that counts")
    min_silence_ms: int = Field(
        500, ge=50, le=10_000, description="a pause shorter than this does not end speech"
    )
    min_speech_ms: int = Field(100, ge=0, le=10_000, description="shorter speech is ignored")
    speech_pad_ms: int = Field(
        200, ge=0, le=2_000, description="kept on both sides of detected speech"
    )


class DecodeOptions(_Options):
    """How the recognizer searches for text."""

    language: str = Field(
        DEFAULT_LANGUAGE,
        pattern=r"^(auto|[a-z]{2,3})$",
        description="ISO 639 code, or auto to detect",
    )
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = Field(
        (), max_length=100, description="with auto: only these are considered; empty: every one"
    )
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="translate always gives English"
    )
    prompt: str = Field("", max_length=2_000, description="names and terms to expect")
    beam_size: int = Field(1, ge=1, le=10, description="1 is greedy; more is slower")
    temperature: float = Field(
        0.0, ge=0, le=1, description="0 starts greedy and climbs only where decoding fails"
    )
    word_timestamps: bool = Field(True, description="times for every word")
    token_logprobs: bool = Field(False, description="the log-probability of every token")


class GuardOptions(_Options):
    """What keeps invented text out of the transcript."""

    no_speech_threshold: float = Field(
        0.6, ge=0, le=1, description="above it, unconfident text counts as silence"
    )
    logprob_threshold: float = Field(
        -1.0, le=0, description="mean log-probability under it counts as a failed decoding"
    )
    compression_ratio_threshold: float = Field(
        2.4, gt=1, description="text that compresses better than this is a repetition loop"
    )


class TranscribeOptions(_Options):
    """Everything that decides what text a recording gives."""

    normalize: NormalizeOptions = NormalizeOptions()
    cut: CutOptions = CutOptions()
    decode: DecodeOptions = DecodeOptions()
    guard: GuardOptions = GuardOptions()
    model: str = Field("", max_length=200, description="model id; empty is the service's own")

    def key(self) -> str:
        """SHA-256 of the canonical form: equal options give equal keys, whoever spelled them."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def describe(options: type[BaseModel], name: str) -> dict[str, Any]:
    """One knob's JSON schema: default, minimum, maximum, enum, description.

    Raises KeyError for a name that `options` does not have.
    """
    schema: dict[str, Any] = options.model_json_schema()["properties"][name]
    return schema
