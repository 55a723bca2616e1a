"""The person's side of the job table: submit, look, search, cancel, retry, remove."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from stenograf.backend.db import Database, JobRow, RecognitionRow, WindowRow
from stenograf.backend.keys import fold, like, read_cursor, recognition_key, write_cursor
from stenograf.backend.ledger import requeue
from stenograf.backend.records import Plan
from stenograf.backend.snapshot import NO_PLAN, Snapshot, StoredWindow, windows_after
from stenograf.backend.textstore import begin_again, new_text, require_room, withdraw
from stenograf.backend.views import (
    job_view,
    shown_status,
    status_of,
    status_of_recognition,
    withdrawable,
)
from stenograf.contract.errors import (
    Conflict,
    NotFinished,
    NotFound,
    Overloaded,
    Unavailable,
)
from stenograf.contract.jobs import JobPage, JobStatus, JobView, Overview
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.text import StageState, TextRequest, TextTask
from stenograf.contract.transcript import Transcript

_J, _R = JobRow, RecognitionRow
_ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
_FALLBACK_JOB_S = 60.0  # guessed length of a job until one has finished


@dataclass(frozen=True)
class Content:
    """A complete upload, as a job needs to know it."""

    upload_id: str
    sha256: str
    size_bytes: int
    filename: str
    media_type: str


@dataclass(frozen=True)
class Removal:
    """What a purge left to be removed outside the database."""

    upload_id: str | None
    recognition_id: str | None


class JobStore:
    """Transactions of those who ask for transcripts."""

    def __init__(
        self,
        database: Database,
        *,
        max_queued: int,
        workers: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = database
        self._max_queued = max_queued
        self._workers = workers
        self._clock = clock

    def submit(
        self,
        content: Content,
        options: TranscribeOptions,
        title: str,
        model: str,
        text: TextRequest | None = None,
        *,
        fingerprint: str = "",
    ) -> JobView:
        """Store a request; it joins the computation of the same bytes, options and model.

        `fingerprint` is what the model is made of, where that is known.
        `text` is work for a language model afterwards; it is no part of that computation. Raises
        Overloaded when a new computation, or the text work, would not fit into the queue.
        """
        now = self._clock()
        key = recognition_key(content.sha256, options, model, fingerprint)
        with self._db.write() as session:
            recognition = session.scalar(select(_R).where(_R.key == key))
            if recognition is None:
                self._require_room(session)
                recognition = RecognitionRow(
                    id=uuid.uuid4().hex,
                    key=key,
                    content_sha256=content.sha256,
                    options=options.model_dump_json(),
                    model=model,
                    queued_at=now,
                )
                session.add(recognition)
            elif recognition.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                self._require_room(session)
                requeue(recognition, now)
            job = _new_job(content, options, title, recognition.id, now)
            session.flush()
            session.add(job)
            session.flush()
            if text is not None and text.task is not TextTask.NONE:
                require_room(session, self._max_queued)
                session.add(new_text(job.id, text, now, with_job=True))
                session.flush()
                session.expire(job, ["text"])
            return self._view(session, job, recognition)

    def get(self, job_id: str) -> JobView:
        """One job. Raises NotFound."""
        with self._db.read() as session:
            job, recognition = _rows(session, job_id)
            return self._view(session, job, recognition)

    def list(
        self, *, query: str = "", status: JobStatus | None = None, limit: int, cursor: str = ""
    ) -> JobPage:
        """Newest first; `query` is looked for in title, file name and text, any case."""
        statement = select(_J, _R).join(_R, _J.recognition_id == _R.id)
        if status is not None:
            statement = statement.where(shown_status() == status)
        if fold(query):
            statement = statement.where(_matches(query))
        if cursor:
            statement = statement.where(tuple_(_J.created_at, _J.id) < read_cursor(cursor))
        statement = statement.order_by(_J.created_at.desc(), _J.id.desc()).limit(limit + 1)
        with self._db.read() as session:
            rows = [(job, recognition) for job, recognition in session.execute(statement)]
            shown_rows = rows[:limit]
            data = [self._view(session, job, recognition) for job, recognition in shown_rows]
        more = len(rows) > limit
        return JobPage(
            data=data,
            next_cursor=write_cursor(shown_rows[-1][0].created_at, shown_rows[-1][0].id)
            if more
            else None,
        )

    def ended_before(self, created_before: float, limit: int) -> Sequence[str]:
        """Ids of the oldest jobs that are over and were created before then, Unix seconds."""
        final = [status for status in JobStatus if status.final]
        statement = (
            select(_J.id)
            .join(_R, _J.recognition_id == _R.id)
            .where(_J.created_at < created_before, shown_status().in_(final))
            .order_by(_J.created_at)
            .limit(limit)
        )
        with self._db.read() as session:
            return session.scalars(statement).all()

    def topic(self, job_id: str) -> str:
        """The recognition behind a job, which notices are about. Raises NotFound."""
        with self._db.read() as session:
            found = session.scalar(select(_J.recognition_id).where(_J.id == job_id))
            if found is None:
                raise _no_job()
            return found

    def snapshot(self, job_id: str, after_seq: int) -> Snapshot:
        """The job now, and its windows with a number above `after_seq`. Raises NotFound.

        Where windows up to `after_seq` are void, or there never was such a number, all of them.
        """
        with self._db.read() as session:
            job, recognition = _rows(session, job_id)
            plan = NO_PLAN
            windows: Sequence[StoredWindow] = ()
            reset_seq = recognition.reset_seq
            last_seq = reset_seq + recognition.windows_done
            void = after_seq > 0 and not reset_seq <= after_seq <= last_seq
            if void:
                after_seq = reset_seq
            if last_seq > max(after_seq, reset_seq) and recognition.plan is not None:
                plan = Plan.model_validate_json(recognition.plan)
                windows = windows_after(session, recognition, plan, after_seq)
            return Snapshot(
                view=self._view(session, job, recognition),
                recognition_id=recognition.id,
                plan=plan,
                windows=tuple(windows),
                last_seq=last_seq,
                reset_seq=reset_seq if void else None,
            )

    def transcript(self, job_id: str) -> Transcript:
        """The finished transcript. Raises NotFound, NotFinished."""
        with self._db.read() as session:
            job, recognition = _rows(session, job_id)
            status = status_of_recognition(job, recognition)
            if status is not JobStatus.COMPLETED or recognition.transcript is None:
                raise NotFinished(
                    f"The job is {status.value}; there is no complete transcript.",
                    hint="Ask again when it is completed, or with partial=true while it runs.",
                )
            return Transcript.model_validate_json(recognition.transcript)

    def overview(self, job_id: str) -> Overview:
        """The drawn waveform. Raises NotFound, NotFinished."""
        with self._db.read() as session:
            _, recognition = _rows(session, job_id)
            if recognition.overview is None:
                raise NotFinished("The recording is not decoded yet.", hint="Ask again shortly.")
            return Overview.model_validate_json(recognition.overview)

    def upload_of(self, job_id: str) -> Content:
        """The recording behind a job. Raises NotFound."""
        with self._db.read() as session:
            job, recognition = _rows(session, job_id)
            return Content(
                upload_id=job.upload_id,
                sha256=recognition.content_sha256,
                size_bytes=job.size_bytes,
                filename=job.filename,
                media_type=job.media_type,
            )

    def cancel(self, job_id: str) -> tuple[JobView, str | None]:
        """Withdraw a request; a final job stays as it is.

        Returns the job, and the id of a recognition that nobody wants any more. Raises NotFound.
        """
        now = self._clock()
        with self._db.write() as session:
            job, recognition = _rows(session, job_id)
            stopped = None
            if job.text is not None and withdrawable(job, recognition):
                withdraw(job.text, now)
            elif not status_of(job, recognition).final:
                job.cancelled_at = now
                if job.text is not None:
                    withdraw(job.text, now)
                session.flush()
                stopped = self._stop_unwanted(session, recognition, now)
            return self._view(session, job, recognition), stopped

    def retry(self, job_id: str) -> JobView:
        """Queue a failed or cancelled job again; stored windows are kept.

        Raises NotFound, Conflict for a job in another state, Overloaded.
        """
        with self._db.write() as session:
            job, recognition = _rows(session, job_id)
            status = status_of(job, recognition)
            if status not in (JobStatus.FAILED, JobStatus.CANCELLED):
                raise Conflict(
                    f"The job is {status.value}; only a failed or cancelled one can be retried."
                )
            job.cancelled_at = None
            if job.text is not None and job.text.state in (
                StageState.FAILED,
                StageState.CANCELLED,
            ):
                begin_again(job.text)
            if recognition.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                self._require_room(session)
                requeue(recognition, self._clock())
            return self._view(session, job, recognition)

    def purge(self, job_id: str) -> Removal:
        """Remove the row, and the computation if nobody else refers to it. Raises NotFound."""
        now = self._clock()
        with self._db.write() as session:
            job, recognition = _rows(session, job_id)
            upload_id = job.upload_id
            session.delete(job)
            session.flush()
            kept = session.scalar(select(_J.id).where(_J.upload_id == upload_id).limit(1))
            shared = session.scalar(select(_J.id).where(_J.recognition_id == recognition.id))
            stopped = None
            if shared is None:
                session.execute(delete(WindowRow).where(WindowRow.recognition_id == recognition.id))
                session.delete(recognition)
                stopped = recognition.id
            else:
                stopped = self._stop_unwanted(session, recognition, now)
            return Removal(upload_id if kept is None else None, stopped)

    def check(self) -> None:
        """Raise Unavailable unless the database answers."""
        try:
            self._db.ping()
        except SQLAlchemyError:
            raise Unavailable("The database does not answer.") from None

    def uploads_in_use(self) -> set[str]:
        """Ids of every upload that a job refers to."""
        with self._db.read() as session:
            return set(session.scalars(select(_J.upload_id).distinct()))

    def _stop_unwanted(
        self, session: Session, recognition: RecognitionRow, now: float
    ) -> str | None:
        wanted = select(_J.id).where(_J.recognition_id == recognition.id, _J.cancelled_at.is_(None))
        if recognition.status not in _ACTIVE or session.scalar(wanted.limit(1)) is not None:
            return None
        recognition.status = JobStatus.CANCELLED
        recognition.lease_owner = None
        recognition.finished_at = now
        recognition.error = None
        return recognition.id

    def _require_room(self, session: Session) -> None:
        queued = _count(session, _R.status == JobStatus.QUEUED)
        if queued < self._max_queued:
            return
        raise Overloaded(
            f"{queued} jobs are waiting already; the queue takes no more now.",
            hint="Send the job again later; the upload is kept.",
            retry_after_s=self._retry_after_s(session),
        )

    def _retry_after_s(self, session: Session) -> float:
        """When a place should be free: the mean time of the last jobs over the workers."""
        last = (
            select((_R.finished_at - _R.started_at).label("took_s"))
            .where(_R.status == JobStatus.COMPLETED, _R.finished_at.is_not(None))
            .order_by(_R.finished_at.desc())
            .limit(20)
            .subquery()
        )
        mean = session.scalar(select(func.avg(last.c.took_s))) or _FALLBACK_JOB_S
        return float(min(3600.0, max(5.0, mean / self._workers)))

    def _view(self, session: Session, job: JobRow, recognition: RecognitionRow) -> JobView:
        position = None
        if status_of(job, recognition) is JobStatus.QUEUED:
            earlier = (_R.status == JobStatus.QUEUED) & (_R.queued_at < recognition.queued_at)
            position = _count(session, (_R.status == JobStatus.RUNNING) | earlier)
        return job_view(job, recognition, now=self._clock(), queue_position=position)


def _new_job(
    content: Content, options: TranscribeOptions, title: str, recognition_id: str, now: float
) -> JobRow:
    return JobRow(
        id=uuid.uuid4().hex,
        recognition_id=recognition_id,
        upload_id=content.upload_id,
        title=title.replace("\0", ""),
        filename=content.filename,
        media_type=content.media_type,
        size_bytes=content.size_bytes,
        options=options.model_dump_json(),
        search_name=fold(f"{title} {content.filename}"),
        created_at=now,
    )


def _rows(session: Session, job_id: str) -> tuple[JobRow, RecognitionRow]:
    statement = select(_J, _R).join(_R, _J.recognition_id == _R.id).where(_J.id == job_id)
    found = session.execute(statement).one_or_none()
    if found is None:
        raise _no_job()
    return found[0], found[1]


def _no_job() -> NotFound:
    return NotFound("There is no such job.", hint="It may have been removed.")


def _matches(query: str) -> ColumnElement[bool]:
    pattern = like(query)
    in_text = (_R.status == JobStatus.COMPLETED) & _R.search_text.like(pattern, escape="\\")
    return or_(_J.search_name.like(pattern, escape="\\"), in_text)


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(_R).where(condition)) or 0
