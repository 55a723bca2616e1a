"""OpenAI's audio API as both services answer it: forms, bodies, and how to ask."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field, RootModel

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    DecodeLimitExceeded,
    ModelNotFound,
    ModelNotReady,
    OutOfResources,
    Overloaded,
    StenografError,
    TooLarge,
    Unavailable,
    UndecodableAudio,
)
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag
from stenograf.openapi.shapes import ModelEntry, ModelList, OpenAIErrorAnswer

TAG = Tag(
    "OpenAI",
    "OpenAI's audio API. Every SDK works with this service as its `base_url`:\n\n"
    "```python\n"
    "from openai import OpenAI\n\n"
    'client = OpenAI(base_url="SERVER/v1", api_key="none")\n'
    'with open("recording.flac", "rb") as file:\n'
    '    print(client.audio.transcriptions.create(model="whisper-1", file=file).text)\n'
    "```\n",
)

_ABOUT_FORM = (
    "A list is sent as `name[]` or `name`, repeated; `chunking_strategy` as `auto`, as JSON, or as "
    "`chunking_strategy[type]`, `chunking_strategy[threshold]` and so on. Every option of "
    "`GET /v1/options` may be sent as a field of its own (`beam_size`, `vad`, `method` …). What "
    "is not known is ignored. Of a prompt with its terms the last 2,000 characters count.\n\n"
    "OpenAI's own model names all mean the model that is served.\n\n"
    "An answer that takes long begins before it is known, so that no client or proxy gives up: "
    "with white space before JSON, SRT and text, behind the head of WebVTT, with comments in a "
    'stream of events. A failure after that is the body `{"error": …}` of JSON or an event; a text '
    "is broken off.\n\n"
    "With `stream` the events are `transcript.text.delta`, for `diarized_json` also "
    "`transcript.text.segment`, and `transcript.text.done`; the deltas joined are its text."
)


class TranslationForm(BaseModel):
    """Fields of `POST /v1/audio/translations`."""

    file: bytes = Field(
        description="the recording: any container or codec that FFmpeg decodes, also video",
        json_schema_extra={"format": "binary"},
    )
    model: str = Field("whisper-1", description="a name of OpenAI's, or an id of `/v1/models`")
    prompt: str = Field("", description="names and terms to expect")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float = Field(0, ge=0, le=1, description="0 climbs only where decoding fails")


class TranscriptionForm(BaseModel):
    """Fields of `POST /v1/audio/transcriptions`."""

    file: bytes = Field(
        description="the recording: any container or codec that FFmpeg decodes, also video",
        json_schema_extra={"format": "binary"},
    )
    model: str = Field("whisper-1", description="a name of OpenAI's, or an id of `/v1/models`")
    language: str = Field("", description="code or English name; empty: detected")
    languages: list[str] = Field(
        [], alias="languages[]", description="languages it may be; one alone is taken"
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


AUDIO_ERRORS = (
    BadRequest,
    BadOptions,
    ModelNotFound,
    UndecodableAudio,
    DecodeLimitExceeded,
    TooLarge,
    Overloaded,
    Unavailable,
    ModelNotReady,
    OutOfResources,
)
"""What can be wrong with a recording, its parameters, or the service at the moment."""

_EXAMPLE = {
    "text": "Номер моего заказа шесть тысяч девятьсот семьдесят один.",
    "usage": {"type": "duration", "seconds": 6},
}


def openai_status(kind: type[StenografError]) -> int:
    """OpenAI answers 400 to every request that is wrong in itself, however."""
    return 400 if issubclass(kind, BadRequest) and kind.status in (415, 422) else kind.status


def operations(
    port: int,
    *,
    model_path: str,
    audio_errors: Iterable[type[StenografError]] = AUDIO_ERRORS,
) -> Operations:
    """The routes of a service at `localhost:port`; `model_path` is its route of one model."""
    url = f"http://localhost:{port}/v1"
    return {
        ("POST", "/v1/audio/transcriptions"): Operation(
            tag=TAG.name,
            summary="Transcribe a recording",
            about=_ABOUT_FORM,
            form=TranscriptionForm,
            answers={
                200: Answer(
                    "the transcript, as `response_format` says",
                    shape=TranscriptionAnswer,
                    media_types=("text/plain", "text/vtt", "text/event-stream"),
                    example=_EXAMPLE,
                )
            },
            errors=audio_errors,
            error_shape=OpenAIErrorAnswer,
            error_status=openai_status,
            outer_error_shape=OpenAIErrorAnswer,
            examples=(
                Example("The text", f"curl {url}/audio/transcriptions -F file=@recording.flac"),
                Example(
                    "Times of phrases and words",
                    f"curl {url}/audio/transcriptions -F file=@recording.flac \\\n"
                    "  -F model=whisper-1 -F language=ru -F response_format=verbose_json \\\n"
                    "  -F 'timestamp_granularities[]=segment' -F 'timestamp_granularities[]=word'",
                ),
                Example(
                    "Subtitles",
                    f"curl {url}/audio/transcriptions -F file=@recording.flac \\\n"
                    "  -F response_format=srt -o recording.srt",
                ),
                Example(
                    "As it is recognized",
                    f"curl -N {url}/audio/transcriptions -F file=@recording.flac -F stream=true",
                ),
            ),
        ),
        ("POST", "/v1/audio/translations"): Operation(
            tag=TAG.name,
            summary="Transcribe a recording into English",
            about="Only multilingual models translate; another one refuses with `invalid_options`.",
            form=TranslationForm,
            answers={
                200: Answer(
                    "the translation, as `response_format` says",
                    shape=TranslationAnswer,
                    media_types=("text/plain", "text/vtt", "text/event-stream"),
                )
            },
            errors=audio_errors,
            error_shape=OpenAIErrorAnswer,
            error_status=openai_status,
            outer_error_shape=OpenAIErrorAnswer,
        ),
        ("GET", "/v1/models"): Operation(
            tag=TAG.name,
            summary="What answers",
            answers={200: Answer("the models", shape=ModelList)},
            errors=(Unavailable, ModelNotReady),
            error_shape=OpenAIErrorAnswer,
            error_status=openai_status,
            outer_error_shape=OpenAIErrorAnswer,
            examples=(Example("The model in use", f"curl {url}/models"),),
        ),
        ("GET", model_path): Operation(
            tag=TAG.name,
            summary="One model, by its id or by a name of OpenAI's",
            answers={200: Answer("the model", shape=ModelEntry)},
            errors=(ModelNotFound, Unavailable, ModelNotReady),
            error_shape=OpenAIErrorAnswer,
            error_status=openai_status,
            outer_error_shape=OpenAIErrorAnswer,
        ),
    }
