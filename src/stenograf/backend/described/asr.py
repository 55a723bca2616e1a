"""whisper-asr-webservice and WhisperX, for Bazarr, Speakr and their kin."""

from typing import Any

from pydantic import BaseModel, Field, RootModel

from stenograf.backend.api.dialect import status_of
from stenograf.contract.errors import StenografError
from stenograf.openapi.openai_audio import AUDIO_ERRORS
from stenograf.openapi.openai_shapes import VerboseSegment
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Parameter, Tag
from stenograf.openapi.shapes import DetailAnswer

TAG = Tag(
    "whisper-asr-webservice, WhisperX",
    "The API of [whisper-asr-webservice](https://github.com/ahmetoner/whisper-asr-webservice) "
    "and of the WhisperX service that Speakr speaks to. Point Bazarr's Whisper provider, or "
    "Speakr's `ASR_BASE_URL`, here. Every parameter may stand in the query or in the form. "
    "More in [clients.md](clients.md).",
)


def dialect_status(kind: type[StenografError]) -> int:
    """The status of an error on routes with a dialect's own error shape."""
    return status_of(kind(""))


class RecordingForm(BaseModel):
    """The recording; the parameters of the query may stand here too."""

    audio_file: bytes = Field(
        description="the recording, under this name or as `file`",
        json_schema_extra={"format": "binary"},
    )


class AsrWord(BaseModel):
    """A word with its times, seconds."""

    word: str
    start: float
    end: float
    score: float | None = None
    probability: float | None = None
    speaker: str = ""


class AsrSegment(VerboseSegment):
    """A phrase; `words` is null where they were not wanted."""

    words: list[AsrWord] | None
    speaker: str = ""


class AsrAnswer(BaseModel):
    """What readers of whisper's, faster-whisper's and WhisperX' JSON find in one object."""

    text: str
    language: str
    language_probability: float | None
    duration: float
    model: str
    segments: list[AsrSegment]
    word_segments: list[AsrWord]
    warnings: list[dict[str, str]]


class AsrAnswerOrError(RootModel[AsrAnswer | DetailAnswer]):
    """The transcript; an error that came after the answer had begun."""


class DetectedLanguage(BaseModel):
    """Which language is spoken."""

    detected_language: str = Field(description="English name, lower case")
    language_code: str
    confidence: float | None = Field(description="0 to 1; null if the model does not tell")


class DetectedLanguageOrError(RootModel[DetectedLanguage | DetailAnswer]):
    """The language; an error that came after the answer had begun."""


_FLAG: dict[str, Any] = {"type": "boolean"}
_COUNT: dict[str, Any] = {"type": "number"}
_ENCODE = Parameter("encode", "false: the body is bare PCM, s16le, 16 kHz, mono", _FLAG)
_URL = "http://localhost:8009"

OPERATIONS: Operations = {
    ("POST", "/asr"): Operation(
        tag=TAG.name,
        summary="Transcribe a recording",
        about="`output` decides the answer; without it, and without any parameter of WhisperX, "
        "it is `txt`. Speakers are named where the two channels of a recording tell them "
        "apart; there are no speaker embeddings.",
        parameters=(
            Parameter(
                "output", "the answer", {"enum": ["txt", "vtt", "srt", "tsv", "json", "text"]}
            ),
            Parameter("language", "code or English name; without it: detected"),
            Parameter("task", "what to write", {"enum": ["transcribe", "translate"]}),
            Parameter("initial_prompt", "names and terms to expect"),
            Parameter("hotwords", "more of them"),
            Parameter("word_timestamps", "json: words with times", _FLAG),
            Parameter("vad_filter", "leave silence out (the default)", _FLAG),
            Parameter("diarize", "speakers are wanted", _FLAG),
            Parameter("min_speakers", "accepted; channels alone tell speakers apart", _COUNT),
            Parameter("max_speakers", "the same", _COUNT),
            Parameter("model", "a Whisper size counts as the model that is served"),
            _ENCODE,
        ),
        form=RecordingForm,
        answers={
            200: Answer(
                "the transcript",
                shape=AsrAnswerOrError,
                media_types=(
                    *("text/plain", "application/x-subrip", "text/vtt"),
                    "text/tab-separated-values",
                ),
                headers={
                    "Asr-Engine": "stenograf",
                    "Content-Disposition": "attachment, named after the recording",
                },
            )
        },
        errors=AUDIO_ERRORS,
        error_shape=DetailAnswer,
        error_status=dialect_status,
        examples=(
            Example("Subtitles", f"curl '{_URL}/asr?output=srt' -F audio_file=@recording.flac"),
            Example(
                "As Speakr asks",
                f"curl '{_URL}/asr?output=json&language=ru&diarize=true' \\\n"
                "  -F audio_file=@recording.flac",
            ),
        ),
    ),
    ("POST", "/detect-language"): Operation(
        tag=TAG.name,
        summary="Which language is spoken",
        parameters=(_ENCODE,),
        form=RecordingForm,
        answers={200: Answer("the language", shape=DetectedLanguageOrError)},
        errors=AUDIO_ERRORS,
        error_shape=DetailAnswer,
        error_status=dialect_status,
        examples=(
            Example("The language", f"curl {_URL}/detect-language -F audio_file=@recording.flac"),
        ),
    ),
}
