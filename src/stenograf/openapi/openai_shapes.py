"""OpenAI's forms and JSON answers, for the document."""

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from stenograf.openapi.shapes import OpenAIErrorAnswer


class TranslationForm(BaseModel):
    """Fields of `POST /v1/audio/translations`."""

    file: bytes = Field(
        description="the recording",
        json_schema_extra={"format": "binary"},
    )
    model: str = Field("whisper-1", description="a name of OpenAI's, or an id of `/v1/models`")
    prompt: str = Field("", description="names and terms to expect")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float = Field(0, ge=0, le=1, description="0 climbs only where decoding fails")


class TranscriptionForm(BaseModel):
    """Fields of `POST /v1/audio/transcriptions`."""

    file: bytes = Field(
        description="the recording",
        json_schema_extra={"format": "binary"},
    )
    model: str = Field("whisper-1", description="a name of OpenAI's, or an id of `/v1/models`")
    language: str = Field("", description="code, English name or auto; empty: DEFAULT_LANGUAGE")
    languages: list[str] = Field(
        [], alias="languages[]", description="languages it may be: detected among them"
    )
    prompt: str = Field("", description="names and terms to expect")
    keywords: list[str] = Field([], alias="keywords[]", description="more terms to expect")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] = "json"
    temperature: float = Field(0, ge=0, le=1, description="0 climbs only where decoding fails")
    timestamp_granularities: list[Literal["segment", "word"]] = Field(
        [], alias="timestamp_granularities[]", description="verbose_json only; default segment"
    )
    include: list[Literal["logprobs"]] = Field(
        [], alias="include[]", description="json and verbose_json only"
    )
    chunking_strategy: str = Field("auto", description="auto, or server_vad with its parameters")
    known_speaker_names: list[str] = Field([], alias="known_speaker_names[]", max_length=4)
    known_speaker_references: list[str] = Field(
        [], alias="known_speaker_references[]", max_length=4, description="data URLs with sound"
    )
    stream: bool = Field(False, description="answer with server-sent events")


class DurationUsage(BaseModel):
    """What was heard."""

    type: Literal["duration"]
    seconds: float


class Logprob(BaseModel):
    """One token of the text."""

    token: str
    bytes: list[int]
    logprob: float = Field(description="natural logarithm of its probability")


class JsonTranscription(BaseModel):
    """`response_format=json`."""

    text: str
    usage: DurationUsage
    logprobs: list[Logprob] = Field([], description="with `include[]=logprobs`")
    languages: list[dict[str, str]] = Field([], description="where the client asked for them")


class VerboseWord(BaseModel):
    """A word with its times, seconds."""

    word: str
    start: float
    end: float
    probability: float | None = None


class VerboseSegment(BaseModel):
    """A phrase with its times, seconds, and Whisper's own figures."""

    id: int
    seek: int = Field(description="in Whisper's frames of 10 ms")
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float | None
    compression_ratio: float | None
    no_speech_prob: float | None


class VerboseTranscription(BaseModel):
    """`response_format=verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str = Field(description="English name, lower case, as OpenAI says it")
    duration: float = Field(description="seconds")
    text: str
    segments: list[VerboseSegment] = []
    words: list[VerboseWord] = []
    usage: DurationUsage


class DiarizedSegment(BaseModel):
    """A stretch of one speaker."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    speaker: str = Field(description="A, B … in the order in which they begin to speak")
    text: str


class DiarizedTranscription(BaseModel):
    """`response_format=diarized_json`."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: DurationUsage


class TranscriptionAnswer(
    RootModel[VerboseTranscription | DiarizedTranscription | JsonTranscription | OpenAIErrorAnswer]
):
    """One of the JSON formats; an error that came after the answer had begun."""


class TranslationAnswer(RootModel[VerboseTranscription | JsonTranscription | OpenAIErrorAnswer]):
    """One of the JSON formats; an error that came after the answer had begun."""
