"""Two small speech services that this one takes the place of."""

from pydantic import BaseModel, Field, RootModel

from stenograf.backend.described.asr import dialect_status
from stenograf.openapi.openai_audio import AUDIO_ERRORS
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Parameter, Tag
from stenograf.openapi.shapes import DetailAnswer

TAG = Tag(
    "whisper_service, stt_engine",
    "The routes of a Telegram bot's Whisper service (port 8003 there) and of an STT API (8001 "
    "there). Both call `/transcribe`: its answer has the fields of both.",
)


class FileForm(BaseModel):
    """The recording; the parameters of the query may stand here too."""

    file: bytes = Field(description="the recording", json_schema_extra={"format": "binary"})


class SeedError(DetailAnswer):
    """An error with `success`."""

    success: bool


class Transcribed(BaseModel):
    """The text, for both kinds of clients."""

    success: bool
    text: str
    language: str
    segments_count: int
    audio_path: str = Field(description="the recording's file name")


class TranscribedOrError(RootModel[Transcribed | SeedError]):
    """The text; an error that came after the answer had begun."""


class OnlyText(BaseModel):
    """The text alone."""

    text: str


class OnlyTextOrError(RootModel[OnlyText | SeedError]):
    """The text; an error that came after the answer had begun."""


class Processed(BaseModel):
    """What the language model made of it; its failure is told and costs nothing else."""

    success: bool
    original_text: str
    instruction: str
    processed_text: str = ""
    error: str = ""


class TranscribedAndProcessed(BaseModel):
    """The transcript and what came of it."""

    success: bool
    stt_result: Transcribed
    vllm_result: Processed


class TranscribedAndProcessedOrError(RootModel[TranscribedAndProcessed | SeedError]):
    """Both; an error that came after the answer had begun."""


_LANGUAGE = Parameter("language", "code or English name; without it: Russian")
_URL = "http://localhost:8009"

OPERATIONS: Operations = {
    ("POST", "/transcribe"): Operation(
        tag=TAG.name,
        summary="The text of a recording",
        parameters=(_LANGUAGE,),
        form=FileForm,
        answers={200: Answer("the text", shape=TranscribedOrError)},
        errors=AUDIO_ERRORS,
        error_shape=SeedError,
        error_status=dialect_status,
        examples=(Example("The text", f"curl {_URL}/transcribe -F file=@recording.flac"),),
    ),
    ("POST", "/transcribe_simple"): Operation(
        tag=TAG.name,
        summary="The text of a recording, and nothing else",
        parameters=(_LANGUAGE,),
        form=FileForm,
        answers={200: Answer("the text", shape=OnlyTextOrError)},
        errors=AUDIO_ERRORS,
        error_shape=SeedError,
        error_status=dialect_status,
        examples=(Example("The text", f"curl {_URL}/transcribe_simple -F file=@recording.flac"),),
    ),
    ("POST", "/transcribe-and-process"): Operation(
        tag=TAG.name,
        summary="The text, and what a language model makes of it",
        about="Without `TEXT_LLM_URL`, or when it fails, `vllm_result` says why and the transcript "
        "is there all the same.",
        parameters=(_LANGUAGE, Parameter("instruction", "what to do with the text")),
        form=FileForm,
        answers={200: Answer("both", shape=TranscribedAndProcessedOrError)},
        errors=AUDIO_ERRORS,
        error_shape=SeedError,
        error_status=dialect_status,
        examples=(
            Example(
                "A summary of a recording",
                f"curl {_URL}/transcribe-and-process -F file=@recording.flac \\\n"
                "  -F language=ru -F instruction='Кратко перескажи этот текст.'",
            ),
        ),
    ),
}
