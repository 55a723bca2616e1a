"""Rows as clients see them."""

from datetime import UTC, datetime

from stenograf.backend.db import JobRow, RecognitionRow
from stenograf.contract.errors import ErrorBody
from stenograf.contract.jobs import JobStatus, JobView, Progress, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE


def status_of(job: JobRow, recognition: RecognitionRow) -> JobStatus:
    """A cancelled request stays cancelled, whatever happens to the computation behind it."""
    return JobStatus.CANCELLED if job.cancelled_at is not None else JobStatus(recognition.status)


def job_view(
    job: JobRow, recognition: RecognitionRow, *, now: float, queue_position: int | None
) -> JobView:
    """One job as `GET /v1/jobs/{id}` answers it."""
    status = status_of(job, recognition)
    finished_at = job.cancelled_at or recognition.finished_at
    return JobView(
        id=job.id,
        status=status,
        title=job.title or job.filename,
        filename=job.filename,
        size_bytes=job.size_bytes,
        duration_s=_seconds(recognition.duration),
        options=TranscribeOptions.model_validate_json(job.options),
        progress=_progress(recognition, status, now, queue_position),
        created_at=_moment(job.created_at),
        started_at=_after(job, recognition.started_at),
        finished_at=_after(job, finished_at) if status.final else None,
        error=_error(recognition, status),
        text_preview=recognition.preview if status is JobStatus.COMPLETED else "",
        links=_links(job.id),
    )


def _progress(
    row: RecognitionRow, status: JobStatus, now: float, queue_position: int | None
) -> Progress:
    end = now if status is JobStatus.RUNNING else (row.finished_at or now)
    return Progress(
        stage=Stage(row.stage),
        done_s=row.done / SAMPLE_RATE,
        total_s=_seconds(row.speech),
        windows_done=row.windows_done,
        windows_total=row.windows_total,
        elapsed_s=round(max(0.0, end - row.started_at), 3) if row.started_at else 0.0,
        eta_s=_eta_s(row, now) if status is JobStatus.RUNNING else None,
        queue_position=queue_position if status is JobStatus.QUEUED else None,
    )


def _eta_s(row: RecognitionRow, now: float) -> float | None:
    """Remaining samples at the rate of this attempt; None before its first window."""
    since_start = row.done - row.recognizing_from
    if row.recognizing_at is None or row.speech is None or since_start <= 0:
        return None
    rate = since_start / max(now - row.recognizing_at, 1e-3)
    return round(max(0, row.speech - row.done) / rate, 1)


def _error(row: RecognitionRow, status: JobStatus) -> ErrorBody | None:
    # While queued, the last error says what the job waits for.
    if row.error is None or status not in (JobStatus.FAILED, JobStatus.QUEUED):
        return None
    return ErrorBody.model_validate_json(row.error)


def _links(job_id: str) -> dict[str, str]:
    root = f"/v1/jobs/{job_id}"
    parts = ("events", "transcript", "audio", "overview")
    return {"self": root, **{part: f"{root}/{part}" for part in parts}}


def _seconds(samples: int | None) -> float | None:
    return None if samples is None else samples / SAMPLE_RATE


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _after(job: JobRow, unix_s: float | None) -> datetime | None:
    # A job that shares an older computation did not begin before it was asked for.
    return None if unix_s is None else _moment(max(unix_s, job.created_at))
