"""Work of a language model on a finished transcript: what may be asked, what comes back."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stenograf.contract.errors import ErrorBody
from stenograf.contract.transcript import Warning

MAX_INSTRUCTION_CHARS = 4_000


class TextTask(StrEnum):
    """What the language model does with the text."""

    NONE = "none"
    PUNCTUATION = "punctuation"  # same words, better punctuation and capitals
    SUMMARY = "summary"
    INSTRUCTION = "instruction"  # whatever the person wrote


class StageState(StrEnum):
    """Where a stage of a job is: waiting and running may still change, the others are final."""

    WAITING = "waiting"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing more will happen by itself."""
        return self not in (StageState.WAITING, StageState.RUNNING)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _without_nul(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL cannot store it


class TextRequest(BaseModel):
    """What to do with a transcript once it is there; it never changes the recognition itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: TextTask = Field(TextTask.NONE, description="none leaves the transcript as it is")
    instruction: Annotated[str, AfterValidator(_without_nul)] = Field(
        "",
        max_length=MAX_INSTRUCTION_CHARS,
        description="task instruction: what to do with the transcript, in any language; "
        "task summary: what to look at (optional)",
    )
    strict: bool = Field(
        False, description="a failure of the language model is a failure of the whole request"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.task is TextTask.INSTRUCTION and not self.instruction.strip():
            raise ValueError("task instruction needs an instruction")
        return self


class TextResult(_Record):
    """What the language model made of a text."""

    text: str
    task: TextTask
    instruction: str = ""
    model: str = Field("", description="name of the language model that answered")
    passages: tuple[str, ...] = Field(
        (), description="punctuation only: the passages that were given, one by one"
    )
    warnings: tuple[Warning, ...] = ()


class StageView(_Record):
    """One stage of a job: `asr` or `text`."""

    state: StageState
    reason: str | None = Field(None, description="one sentence: why it failed, or what it awaits")
    remedy: str | None = Field(None, description="what to do about it, if anything can be done")


class TextView(_Record):
    """Text work of a job, as `/v1/jobs/{id}/text` shows it."""

    id: str
    job_id: str
    task: TextTask
    instruction: str = ""
    strict: bool = False
    with_job: bool = Field(False, description="it was asked for together with the job")
    state: StageState
    text: str = Field("", description="the result; what there is so far while it runs")
    model: str = ""
    warnings: tuple[Warning, ...] = ()
    pieces_done: int = Field(0, description="requests to the language model that are answered")
    pieces_total: int | None = None
    error: ErrorBody | None = None
    retry_at: datetime | None = Field(None, description="when a failed attempt is made again")
    created_at: datetime
    finished_at: datetime | None = None
