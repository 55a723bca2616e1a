"""whisper.cpp's server."""

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from stenograf.backend.described.asr import dialect_status
from stenograf.contract.errors import BadRequest
from stenograf.openapi.openai_audio import AUDIO_ERRORS
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag

TAG = Tag(
    "whisper.cpp",
    "The API of [whisper.cpp's server](https://github.com/ggml-org/whisper.cpp). Its fields that "
    "mean something to this recognizer are honoured, the others are read and let be.",
)


class InferenceForm(BaseModel):
    """The fields of `POST /inference` that decide something."""

    file: bytes = Field(description="the recording", json_schema_extra={"format": "binary"})
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    language: str = Field("ru", description="code or English name")
    detect_language: bool = False
    translate: bool = Field(False, description="write English")
    prompt: str = ""
    temperature: float = Field(0, ge=0, le=1)
    beam_size: int = Field(-1, description="below 1: greedy")
    no_timestamps: bool = Field(False, description="verbose_json without times")
    offset_t: float = Field(0, description="ms; what is said before it is left out")
    duration: float = Field(0, description="ms after the offset that are answered; 0: all")
    no_speech_thold: float = Field(0.6, ge=0, le=1)
    logprob_thold: float = Field(-1, le=0)
    vad: bool = True
    vad_threshold: float = Field(0.5, gt=0, lt=1)


class InferenceError(BaseModel):
    """whisper.cpp's error is a sentence."""

    error: str
    code: str
    param: str = ""
    request_id: str = ""


class InferenceText(BaseModel):
    """`response_format=json`: a line for each segment, each behind a space."""

    text: str


class InferenceWord(BaseModel):
    """A word with its times, seconds."""

    word: str
    start: float
    end: float
    t_dtw: float
    probability: float


class InferenceSegment(BaseModel):
    """A phrase with its words."""

    id: int
    text: str
    start: float = 0.0
    end: float = 0.0
    speaker: str = ""
    tokens: list[int]
    words: list[InferenceWord] = []
    temperature: float
    avg_logprob: float
    no_speech_prob: float


class InferenceVerbose(BaseModel):
    """`response_format=verbose_json`."""

    task: str
    language: str
    duration: float
    text: str
    segments: list[InferenceSegment]
    detected_language: str
    detected_language_probability: float | None = None
    language_probabilities: dict[str, float] = {}


class InferenceAnswer(RootModel[InferenceVerbose | InferenceText | InferenceError]):
    """One of the JSON formats; an error that came after the answer had begun."""


_URL = "http://localhost:8009"

OPERATIONS: Operations = {
    ("POST", "/inference"): Operation(
        tag=TAG.name,
        summary="Transcribe a recording",
        form=InferenceForm,
        answers={
            200: Answer(
                "the transcript, as `response_format` says",
                shape=InferenceAnswer,
                media_types=("text/plain", "application/x-subrip", "text/vtt"),
            )
        },
        errors=AUDIO_ERRORS,
        error_shape=InferenceError,
        error_status=dialect_status,
        examples=(
            Example(
                "As its README asks",
                f'curl {_URL}/inference -H "Content-Type: multipart/form-data" \\\n'
                '  -F file="@recording.flac" -F temperature="0.0" -F response_format="json"',
            ),
        ),
    ),
    ("POST", "/load"): Operation(
        tag=TAG.name,
        summary="Refused: a model is chosen where the model service starts",
        errors=(BadRequest,),
        error_shape=InferenceError,
        error_status=dialect_status,
    ),
}
