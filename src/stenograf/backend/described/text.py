"""A language model on finished transcripts."""

from pydantic import BaseModel

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    Conflict,
    NotFinished,
    NotFound,
    TextServiceFailed,
    TextServiceNotConfigured,
    TextServiceTimeout,
    TextServiceUnavailable,
)
from stenograf.contract.text import TextView
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag

TAG = Tag(
    "Text work",
    "Punctuation, summaries and instructions by any OpenAI-compatible chat server "
    "(`TEXT_LLM_URL`). A failure never costs the transcript.",
)
_TEXT = "http://localhost:8009$JOB/text"


class TextWorkable(BaseModel):
    """Whether there is a language model, and what it can be asked."""

    configured: bool
    model: str
    tasks: list[str]


class Capabilities(BaseModel):
    """What this installation can do beyond transcription."""

    text: TextWorkable


class TextList(BaseModel):
    """All text work of a job."""

    data: list[TextView]


_ERRORS = (NotFound,)
TEXT_ERRORS = (
    TextServiceNotConfigured,
    TextServiceFailed,
    TextServiceUnavailable,
    TextServiceTimeout,
)
"""How the language model may fail."""

OPERATIONS: Operations = {
    ("GET", "/v1/capabilities"): Operation(
        tag=TAG.name,
        summary="What this installation can do beyond transcription",
        answers={200: Answer("what it can do", shape=Capabilities)},
        examples=(
            Example("Is there a language model?", "curl http://localhost:8009/v1/capabilities"),
        ),
    ),
    ("GET", "/v1/jobs/{job_id}/text"): Operation(
        tag=TAG.name,
        summary="All text work of a job, newest first",
        answers={200: Answer("the list", shape=TextList)},
        errors=_ERRORS,
        examples=(Example("What was done", f"curl {_TEXT}"),),
    ),
    ("POST", "/v1/jobs/{job_id}/text"): Operation(
        tag=TAG.name,
        summary="Ask for work on a finished transcript",
        about="The same request again gives the stored result. With `stream` the answer is "
        "server-sent events: `state`, `delta`, `reset`, `done`; with `wait` false it comes at "
        "once and the work is followed at its own address.",
        answers={
            200: Answer(
                "the result; its `state` says whether it was successful",
                shape=TextView,
                media_types=("text/event-stream",),
            ),
            202: Answer("under way", shape=TextView, headers={"Location": "its address"}),
        },
        errors=(
            *(NotFound, BadRequest, BadOptions, Conflict, NotFinished),
            *TEXT_ERRORS,
        ),
        examples=(
            Example(
                "A summary",
                f"curl {_TEXT} -H 'Content-Type: application/json' -d '{{\"task\": \"summary\"}}'",
            ),
        ),
    ),
    ("GET", "/v1/jobs/{job_id}/text/{text_id}"): Operation(
        tag=TAG.name,
        summary="One piece of text work",
        answers={200: Answer("the work", shape=TextView)},
        errors=_ERRORS,
    ),
    ("DELETE", "/v1/jobs/{job_id}/text/{text_id}"): Operation(
        tag=TAG.name,
        summary="Cancel text work; what is finished stays",
        answers={200: Answer("the work", shape=TextView)},
        errors=_ERRORS,
    ),
    ("GET", "/v1/jobs/{job_id}/text/{text_id}/events"): Operation(
        tag=TAG.name,
        summary="Text as it is written, as server-sent events",
        answers={200: Answer("events until it ends", media_types=("text/event-stream",))},
        errors=_ERRORS,
    ),
}
