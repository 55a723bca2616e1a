"""Rows as clients see them."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, case, select

from stenograf.backend.db import JobRow, RecognitionRow, TextRow
from stenograf.contract.errors import ErrorBody
from stenograf.contract.jobs import JobStatus, JobView, Progress, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.text import StageState, StageView

_STRICT_ENDS = {
    StageState.OK: JobStatus.COMPLETED,
    StageState.FAILED: JobStatus.FAILED,
    StageState.CANCELLED: JobStatus.CANCELLED,
}
_UNFINISHED = (StageState.WAITING, StageState.RUNNING)
_ASR_STATES = {
    JobStatus.QUEUED: StageState.WAITING,
    JobStatus.RUNNING: StageState.RUNNING,
    JobStatus.COMPLETED: StageState.OK,
    JobStatus.FAILED: StageState.FAILED,
    JobStatus.CANCELLED: StageState.CANCELLED,
}


def status_of(job: JobRow, recognition: RecognitionRow) -> JobStatus:
    """A cancelled request stays cancelled, whatever happens to the computation behind it.

    With text work the job runs until that ends for the first time; how it ends matters only where
    it was strict.
    """
    if job.cancelled_at is not None:
        return JobStatus.CANCELLED
    if recognition.status != JobStatus.COMPLETED or job.text is None:
        return JobStatus(recognition.status)
    state = StageState(job.text.state)
    if not state.final and job.text.finished_at is None:
        return JobStatus.RUNNING
    return _STRICT_ENDS[state] if job.text.strict else JobStatus.COMPLETED


def shown_status() -> ColumnElement[str]:
    """`status_of` in SQL, for a statement over both tables."""
    text = select(TextRow.state).where(TextRow.job_id == JobRow.id, TextRow.with_job)
    strict = text.where(TextRow.strict).scalar_subquery()
    first_time = text.where(TextRow.finished_at.is_(None)).scalar_subquery()
    recognized = RecognitionRow.status == JobStatus.COMPLETED
    return case(
        (JobRow.cancelled_at.is_not(None), JobStatus.CANCELLED),
        (recognized & first_time.in_(_UNFINISHED), JobStatus.RUNNING),
        *((recognized & (strict == state), status) for state, status in _STRICT_ENDS.items()),
        else_=RecognitionRow.status,
    )


def withdrawable(job: JobRow, recognition: RecognitionRow) -> bool:
    """Whether cancelling would end text work only: the transcript is there and stays."""
    return (
        job.cancelled_at is None
        and recognition.status == JobStatus.COMPLETED
        and job.text is not None
        and not StageState(job.text.state).final
        and job.text.finished_at is None
    )


def job_view(
    job: JobRow, recognition: RecognitionRow, *, now: float, queue_position: int | None
) -> JobView:
    """One job as `GET /v1/jobs/{id}` answers it."""
    status = status_of(job, recognition)
    recognized = status_of_recognition(job, recognition) is JobStatus.COMPLETED
    finished_at = job.cancelled_at or recognition.finished_at
    if recognized and job.text is not None:
        finished_at = job.text.finished_at
    return JobView(
        id=job.id,
        status=status,
        title=job.title or job.filename,
        filename=job.filename,
        size_bytes=job.size_bytes,
        duration_s=_seconds(recognition.duration),
        options=TranscribeOptions.model_validate_json(job.options),
        progress=_progress(recognition, status, now, queue_position),
        stages=_stages(job, recognition),
        created_at=_moment(job.created_at),
        started_at=_after(job, recognition.started_at),
        finished_at=_after(job, finished_at) if status.final else None,
        error=_error(job, recognition, status),
        text_preview=recognition.preview if recognized else "",
        links=_links(job.id),
    )


def status_of_recognition(job: JobRow, recognition: RecognitionRow) -> JobStatus:
    """The same without text work."""
    return JobStatus.CANCELLED if job.cancelled_at is not None else JobStatus(recognition.status)


def _stages(job: JobRow, recognition: RecognitionRow) -> dict[str, StageView]:
    status = status_of_recognition(job, recognition)
    stages = {"asr": _stage(_ASR_STATES[status], recognition.error)}
    if job.text is not None:
        state = StageState(job.text.state)
        if status in (JobStatus.FAILED, JobStatus.CANCELLED):
            state = StageState.CANCELLED  # there will be no transcript to work on
        stages["text"] = _stage(state, job.text.error)
    return stages


def _stage(state: StageState, error: str | None) -> StageView:
    if error is None or state not in (StageState.FAILED, StageState.WAITING):
        return StageView(state=state)
    body = ErrorBody.model_validate_json(error)
    return StageView(state=state, reason=body.message, remedy=body.hint)


def _progress(
    row: RecognitionRow, status: JobStatus, now: float, queue_position: int | None
) -> Progress:
    end = now if status is JobStatus.RUNNING else (row.finished_at or now)
    in_text = status is JobStatus.RUNNING and row.status == JobStatus.COMPLETED
    return Progress(
        stage=Stage.TEXT if in_text else Stage(row.stage),
        done_s=row.done / SAMPLE_RATE,
        total_s=_seconds(row.speech),
        windows_done=row.windows_done,
        windows_total=row.windows_total,
        elapsed_s=round(max(0.0, end - row.started_at), 3) if row.started_at else 0.0,
        eta_s=_eta_s(row, now) if status is JobStatus.RUNNING and not in_text else None,
        queue_position=queue_position if status is JobStatus.QUEUED else None,
    )


def _eta_s(row: RecognitionRow, now: float) -> float | None:
    """Remaining samples at the rate of this attempt; None before its first window."""
    since_start = row.done - row.recognizing_from
    if row.recognizing_at is None or row.speech is None or since_start <= 0:
        return None
    rate = since_start / max(now - row.recognizing_at, 1e-3)
    return round(max(0, row.speech - row.done) / rate, 1)


def _error(job: JobRow, row: RecognitionRow, status: JobStatus) -> ErrorBody | None:
    # While queued, the last error says what the job waits for.
    if status not in (JobStatus.FAILED, JobStatus.QUEUED):
        return None
    of_text = job.text is not None and row.status == JobStatus.COMPLETED
    error = job.text.error if of_text and job.text is not None else row.error
    return None if error is None else ErrorBody.model_validate_json(error)


def _links(job_id: str) -> dict[str, str]:
    root = f"/v1/jobs/{job_id}"
    parts = ("events", "transcript", "audio", "overview", "text")
    return {"self": root, **{part: f"{root}/{part}" for part in parts}}


def _seconds(samples: int | None) -> float | None:
    return None if samples is None else samples / SAMPLE_RATE


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _after(job: JobRow, unix_s: float | None) -> datetime | None:
    # A job that shares an older computation did not begin before it was asked for.
    return None if unix_s is None else _moment(max(unix_s, job.created_at))
