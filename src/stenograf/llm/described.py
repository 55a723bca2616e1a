"""What the model service's document says of its routes."""

from fastapi import FastAPI
from pydantic import BaseModel, Field

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    Cancelled,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from stenograf.openapi import openai_audio
from stenograf.openapi.document import describe
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag
from stenograf.openapi.shapes import Health

ABOUT = (
    "The service that holds the model. It answers OpenAI's audio API for recordings of any "
    "length up to `LLM_MAX_AUDIO_S`; the backend (port 8009) adds durable jobs, every container "
    "and codec, loudness, voice activity, and the other dialects."
)
PORT = 4321
_TAG = Tag("Model", "For the backend, and for those who run the service.")
_URL = f"http://localhost:{PORT}"


class ModelReadiness(BaseModel):
    """What the model does."""

    status: str
    progress: float = Field(description="0 to 1 while it loads")
    detail: str
    model: str


class Samples(BaseModel):
    """16 kHz mono samples, nominal [-1, 1]."""

    chunk: list[float]


class OldText(BaseModel):
    """The text of the samples."""

    response: str


OPERATIONS: Operations = {
    **openai_audio.operations(
        PORT,
        model_path="/v1/models/{model}",
        about_sound="WAV, FLAC, OGG or MP3, up to `LLM_MAX_UPLOAD_BYTES` and `LLM_MAX_AUDIO_S`. "
        "Loudness and voice activity are the backend's work: options of these mean nothing here.",
    ),
    ("POST", "/inference/"): Operation(
        tag=_TAG.name,
        summary="The first version's route: samples as JSON numbers",
        body=Samples,
        answers={200: Answer("the text", shape=OldText)},
        errors=(BadRequest, BadOptions, TooLarge, Unavailable, Cancelled),
        examples=(
            Example(
                "A second of silence",
                f"curl {_URL}/inference/ -H 'Content-Type: application/json' \\\n"
                '  -d "{\\"chunk\\": [$(yes 0 | head -16000 | paste -sd,)]}"',
            ),
        ),
    ),
    ("GET", "/health"): Operation(
        tag=_TAG.name,
        summary="The process lives, whatever the model does",
        answers={200: Answer("alive", shape=Health)},
        public=True,
        examples=(Example("Alive?", f"curl {_URL}/health"),),
    ),
    ("GET", "/ready"): Operation(
        tag=_TAG.name,
        summary="The model answers",
        answers={
            200: Answer("ready", shape=ModelReadiness),
            503: Answer("it loads, or could not be loaded, and why", shape=ModelReadiness),
        },
        public=True,
        examples=(Example("Ready?", f"curl {_URL}/ready"),),
    ),
}


def describe_llm(app: FastAPI) -> None:
    """Let the model service's app give its document."""
    describe(
        app,
        OPERATIONS,
        (openai_audio.TAG, _TAG),
        about=ABOUT,
        server=_URL,
        every_error=(Unauthorized, TooLarge),
    )
