"""What a client sees of a job."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stenograf.contract.errors import ErrorBody
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.text import StageView, TextRequest
from stenograf.contract.transcript import Segment


class JobStatus(StrEnum):
    """A job's life: queued -> running -> completed | failed | cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing more will happen by itself."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Stage(StrEnum):
    """What a running job is doing."""

    WAITING = "waiting"
    DECODING = "decoding"
    LISTENING = "listening"  # voice activity
    RECOGNIZING = "recognizing"
    FINISHING = "finishing"
    TEXT = "text"  # the transcript is there, a language model works on it


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_View):
    """How far a job is, in seconds of the recording."""

    stage: Stage = Stage.WAITING
    done_s: float = 0.0
    total_s: float | None = Field(None, description="speech to recognize; None until known")
    windows_done: int = 0
    windows_total: int | None = None
    elapsed_s: float = 0.0
    eta_s: float | None = Field(None, description="expected remaining time; None until known")
    queue_position: int | None = Field(None, description="jobs ahead, while queued")


class JobRequest(BaseModel):
    """Body of `POST /v1/jobs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    options: TranscribeOptions = TranscribeOptions()
    title: str = Field("", max_length=300)
    text: TextRequest = TextRequest()


class JobView(_View):
    """Body of `GET /v1/jobs/{id}`."""

    id: str
    status: JobStatus
    title: str
    filename: str
    size_bytes: int
    duration_s: float | None = None
    options: TranscribeOptions
    progress: Progress = Progress()
    stages: dict[str, StageView] = Field(
        default_factory=dict, description="asr, and text where a language model was asked for"
    )
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: ErrorBody | None = None
    text_preview: str = Field("", description="first words of the transcript")
    links: dict[str, str] = Field(default_factory=dict)


class JobPage(_View):
    """Body of `GET /v1/jobs`."""

    data: list[JobView]
    next_cursor: str | None = None


class WindowEvent(_View):
    """One recognized window, as `/v1/jobs/{id}/events` sends it (event: window)."""

    index: int = Field(description="position of the window in the file, from 0")
    start: int
    end: int
    segments: tuple[Segment, ...]


class Overview(_View):
    """The drawn waveform: extremes per bucket, before normalization; `gain` gives after."""

    bucket_s: float
    minimum: list[float]
    maximum: list[float]
    gain: float = Field(description="linear gain that normalization applied")
    levels: dict[str, Any]
