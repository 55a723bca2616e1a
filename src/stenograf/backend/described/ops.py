"""For those who run the service, and the first version's route."""

from typing import Any

from pydantic import BaseModel, Field, RootModel

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    DecodeLimitExceeded,
    ModelNotReady,
    OutOfResources,
    TooLarge,
    UndecodableAudio,
)
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag
from stenograf.openapi.shapes import ErrorAnswer, Health

TAG = Tag("Operations", "For those who run the service.")


class BackendHealth(Health):
    """Alive, and what is known of the model; the fields that clients of other services read."""

    status: str = Field(description="healthy, or loading while there is no model")
    device: str | None
    model_loaded: bool
    models_loaded: bool
    loaded_models: list[str]


class Readiness(BaseModel):
    """What the service depends on."""

    status: str = Field(description="ready or not_ready")
    checks: dict[str, str] = Field(description="`ok`, or a sentence, for each")


class Root(BaseModel):
    """What runs here."""

    service: str
    version: str
    model: str | None
    device: str | None
    compute_type: str | None
    status: str
    docs: str


class OldAnswer(BaseModel):
    """The first version's answer."""

    response: str
    status: int


class OldAnswerOrError(RootModel[OldAnswer | ErrorAnswer]):
    """The text; an error that came after the answer had begun."""


GET_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["user_id", "chunk"],
    "properties": {
        "user_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "chunk": {
            "type": "array",
            "items": {"type": "number"},
            "description": "samples, nominal [-1, 1]",
        },
        "sending": {
            "type": "boolean",
            "default": False,
            "description": "true: more is to come, answer at once",
        },
        "original_sr": {"type": "integer", "minimum": 1000, "maximum": 768000, "default": 16000},
        "model_sr": {"type": "integer", "minimum": 1, "maximum": 768000, "default": 16000},
        "chunk_size_sec": {"type": "integer", "maximum": 86400, "default": 30},
        "norm_algo": {"type": "string", "default": "rms", "description": "as is, peak, rms, lufs"},
        "target_dB": {"type": "number", "default": -10},
        "target_peak": {"type": "number", "default": 0.95},
    },
}
_URL = "http://localhost:8009"

OPERATIONS: Operations = {
    ("GET", "/"): Operation(
        tag=TAG.name,
        summary="What runs here",
        answers={200: Answer("names, as clients of other services look for them", shape=Root)},
    ),
    ("GET", "/health"): Operation(
        tag=TAG.name,
        summary="The process lives",
        about="Nothing is waited for; what it says of the model is some seconds old.",
        answers={200: Answer("alive", shape=BackendHealth)},
        public=True,
        examples=(Example("Alive?", f"curl {_URL}/health"),),
    ),
    ("GET", "/ready"): Operation(
        tag=TAG.name,
        summary="Everything the service depends on answers",
        answers={
            200: Answer("ready", shape=Readiness),
            503: Answer("something does not answer", shape=Readiness),
        },
        public=True,
        examples=(Example("Ready?", f"curl {_URL}/ready"),),
    ),
    ("POST", "/get_answer/"): Operation(
        tag=TAG.name,
        summary="The first version's route: sound as JSON numbers",
        about="Kept for its clients. New ones upload files: a number costs ten bytes here.",
        body=GET_ANSWER,
        answers={200: Answer("the text of all that came", shape=OldAnswerOrError)},
        errors=(
            *(BadRequest, BadOptions, TooLarge, UndecodableAudio, DecodeLimitExceeded),
            *(ModelNotReady, OutOfResources),
        ),
        examples=(
            Example(
                "A second of silence",
                f"curl {_URL}/get_answer/ -H 'Content-Type: application/json' \\\n"
                '  -d "{\\"user_id\\": \\"me\\", '
                '\\"chunk\\": [$(yes 0 | head -16000 | paste -sd,)]}"',
            ),
        ),
    ),
}
