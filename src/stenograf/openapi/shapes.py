"""Bodies that many routes share, for the document only: what is served is built where it is served.

Optional fields may be missing from an answer.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Error(BaseModel):
    """What went wrong."""

    code: str = Field(description="stable identifier", examples=["not_found"])
    message: str = Field(description="one sentence", examples=["There is no such job."])
    hint: str = Field("", description="what to do about it")
    param: str = Field("", description="the field or parameter at fault")
    request_id: str = Field("", description="also in the header `X-Request-Id`, and in the log")


class ErrorAnswer(BaseModel):
    """Every error of every route that has no other shape."""

    error: Error


class OpenAIError(BaseModel):
    """OpenAI's error; `hint` and `request_id` stand beside its own fields."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"] | str
    param: str | None
    code: str | None
    hint: str = ""
    request_id: str = ""


class OpenAIErrorAnswer(BaseModel):
    """What OpenAI's SDKs turn into their exceptions."""

    error: OpenAIError


class DetailAnswer(BaseModel):
    """FastAPI's `detail`, which clients of Python services show, beside our own shape."""

    detail: str
    error: Error


class Health(BaseModel):
    """The process lives."""

    status: str
    service: str
    version: str


class ModelEntry(BaseModel):
    """A row of `/v1/models`; more fields may follow."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """`GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelEntry]
