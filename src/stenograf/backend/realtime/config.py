"""What a live transcription session is set to, in both spellings that OpenAI's clients use."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import TranscribeOptions

G711_RATE = 8_000  # Hz
_EAGER_SILENCE_MS = {"low": 1500, "medium": 800, "auto": 800, "high": 400}
_OLD_FORMATS = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu", "rate": G711_RATE},
    "g711_alaw": {"type": "audio/pcma", "rate": G711_RATE},
}
_OLD_NAMES = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AudioFormat(_Part):
    """How appended bytes are to be read: mono, s16 little-endian or G.711."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int = Field(24_000, ge=8_000, le=48_000)


class Recognition(_Part):
    """What the recognizer is told."""

    model: str = Field("", max_length=200)
    language: str | None = None
    languages: list[str] = Field(default=[], max_length=100)
    prompt: str = ""
    keywords: list[str] = Field(default=[], max_length=100)

    @field_validator("model", "prompt", mode="before")
    @classmethod
    def _nothing(cls, value: object) -> object:
        return "" if value is None else value

    @field_validator("languages", "keywords", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return [] if value is None else value


class ServerVad(_Part):
    """When a turn begins and ends by itself."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=5_000)
    silence_duration_ms: int = Field(500, ge=0, le=10_000)


class SessionConfig(_Part):
    """The settings in force; `updated` gives the next ones."""

    format: AudioFormat = AudioFormat()
    transcription: Recognition = Recognition()
    turn_detection: ServerVad | None = ServerVad()

    def updated(self, session: object) -> "SessionConfig":
        """Change what `session`, of an update event, names, and nothing else. Raises BadOptions."""
        if not isinstance(session, Mapping):
            raise BadOptions("session: Input should be an object", param="session")
        kind = session.get("type")
        if kind not in (None, "transcription"):
            raise BadOptions(
                f"A session of type {str(kind)[:40]!r} is not offered.",
                hint="Live sessions transcribe and do not answer: use type 'transcription'.",
                param="session.type",
            )
        settings = self.model_dump()
        for name, value in _named(session).items():
            settings[name] = _merged(name, settings[name], value)
        try:
            return SessionConfig.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["session", *(str(part) for part in first["loc"])])
            raise BadOptions(f"{place}: {first['msg']}", param=place) from None

    def options(self) -> TranscribeOptions:
        """The same as the house's options. Raises BadOptions."""
        asked = self.transcription
        decode: dict[str, Any] = {"prompt": _prompt(asked), "word_timestamps": False}
        if asked.language:
            decode["language"] = _language(asked.language)
        elif asked.languages:
            alone = len(asked.languages) == 1
            decode["language"] = _language(asked.languages[0]) if alone else "auto"
        # OpenAI's own names stand for the model that is served here.
        model = "" if asked.model.startswith("gpt-") else asked.model
        try:
            return TranscribeOptions.model_validate({"decode": decode, "model": model})
        except ValidationError as error:
            first = error.errors()[0]
            place = f"session.audio.input.transcription.{first['loc'][-1]}"
            raise BadOptions(f"{place}: {first['msg']}", param=place) from None

    def shape(self) -> dict[str, Any]:
        """The session as events show it."""
        shown = self.model_dump() | {"noise_reduction": None}
        return {"type": "transcription", "audio": {"input": shown}, "include": []}

    def old_shape(self) -> dict[str, Any]:
        """The session as events of the older dialect show it."""
        formats = {form["type"]: name for name, form in _OLD_FORMATS.items()}
        return {
            "input_audio_format": formats[self.format.type],
            "input_audio_transcription": self.transcription.model_dump(),
            "turn_detection": self.turn_detection and self.turn_detection.model_dump(),
            "input_audio_noise_reduction": None,
        }


def _named(session: Mapping[str, Any]) -> dict[str, Any]:
    """The settings an update names, whichever spelling it uses."""
    audio = session.get("audio")
    place = audio.get("input") if isinstance(audio, Mapping) else None
    named = dict(place) if isinstance(place, Mapping) else {}
    for old, name in _OLD_NAMES.items():
        if old in session:
            named[name] = session[old]
    return {name: named[name] for name in _OLD_NAMES.values() if name in named}


def _merged(name: str, before: dict[str, Any] | None, value: Any) -> Any:
    if name == "format" and isinstance(value, str):
        value = _OLD_FORMATS.get(value, {"type": value})
    if value is None:
        return None if name == "turn_detection" else {}
    if not isinstance(value, Mapping):
        return value
    if name == "format" and value.get("type") in ("audio/pcmu", "audio/pcma"):
        return {**value, "rate": G711_RATE}
    if name == "format" and value.get("type") == "audio/pcm":
        return value
    if name == "turn_detection" and value.get("type") == "semantic_vad":
        eagerness = str(value.get("eagerness", "auto"))
        return {"silence_duration_ms": _EAGER_SILENCE_MS.get(eagerness, 800)}
    return {**(before or {}), **value}


def _language(spoken: str) -> str:
    return spoken.lower().replace("_", "-").split("-")[0]


def _prompt(asked: Recognition) -> str:
    return ". ".join(filter(None, [asked.prompt, ", ".join(asked.keywords)]))
