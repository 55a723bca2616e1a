"""OpenAI's audio API as both services answer it, and how to ask."""

from collections.abc import Iterable

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    Cancelled,
    DecodeLimitExceeded,
    ModelNotFound,
    ModelNotReady,
    NetworkTimeout,
    OutOfResources,
    Overloaded,
    StenografError,
    TooLarge,
    Unavailable,
    UndecodableAudio,
    UnsupportedFormat,
)
from stenograf.openapi.openai_shapes import (
    TranscriptionAnswer,
    TranscriptionForm,
    TranslationAnswer,
    TranslationForm,
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
    "the backend's `GET /v1/options` may be sent as a field of its own (`beam_size`, `vad`, "
    "`method` …). What is not known is ignored. Of a prompt with its terms the last 2,000 "
    "characters count.\n\n"
    "OpenAI's own model names all mean the model that is served.\n\n"
    "An answer that takes long begins before it is known, so that no client or proxy gives up: "
    "with white space before JSON, SRT and text, behind the head of WebVTT, with comments in a "
    'stream of events. A failure after that is the body `{"error": …}` of JSON or an event; a text '
    "is broken off.\n\n"
    "With `stream` the events are `transcript.text.delta`, for `diarized_json` also "
    "`transcript.text.segment`, and `transcript.text.done`; the deltas joined are its text."
)


AUDIO_ERRORS = (
    BadRequest,
    BadOptions,
    ModelNotFound,
    UnsupportedFormat,
    UndecodableAudio,
    DecodeLimitExceeded,
    TooLarge,
    Cancelled,
    Overloaded,
    Unavailable,
    ModelNotReady,
    NetworkTimeout,
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
    about_sound: str,
    audio_errors: Iterable[type[StenografError]] = AUDIO_ERRORS,
) -> Operations:
    """The routes of a service at `localhost:port`; `model_path` is its route of one model.

    `about_sound` says which recordings it takes.
    """
    url = f"http://localhost:{port}/v1"
    return {
        ("POST", "/v1/audio/transcriptions"): Operation(
            tag=TAG.name,
            summary="Transcribe a recording",
            about=f"{about_sound}\n\n{_ABOUT_FORM}",
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
