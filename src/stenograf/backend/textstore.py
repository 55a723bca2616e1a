"""The person's side of the table of text work: ask, look, cancel."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from stenograf.backend.db import Database, JobRow, RecognitionRow, TextRow
from stenograf.contract.errors import ErrorBody, NotFinished, NotFound, Overloaded
from stenograf.contract.jobs import JobStatus
from stenograf.contract.text import StageState, TextRequest, TextTask, TextView
from stenograf.contract.transcript import Warning

_T = TextRow
_RETRY_AFTER_S = 60.0
_NO_TRANSCRIPT = (JobStatus.FAILED, JobStatus.CANCELLED)


class TextStore:
    """Transactions of those who ask for text work."""

    def __init__(
        self, database: Database, *, max_waiting: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = database
        self._max_waiting = max_waiting
        self._clock = clock

    def ask(self, job_id: str, request: TextRequest) -> TextView:
        """Store a request for a finished transcript.

        What was asked for before is not done twice: a result or work on the way is given back,
        what failed or waits for another attempt is due now.

        Raises NotFound (no such job), NotFinished (no transcript), Overloaded.
        """
        now = self._clock()
        same = select(_T).where(
            _T.job_id == job_id,
            _T.task == request.task,
            _T.instruction == request.instruction,
        )
        with self._db.write() as session:
            _require_transcript(session, job_id)
            row = session.scalar(same.order_by(_T.created_at.desc()).limit(1))
            if row is None:
                require_room(session, self._max_waiting)
                row = new_text(job_id, request, now)
                session.add(row)
            elif row.state in (StageState.FAILED, StageState.CANCELLED):
                require_room(session, self._max_waiting)
                ended_at = row.finished_at
                begin_again(row)
                if row.with_job and not row.strict:
                    row.finished_at = ended_at  # the job was completed, and stays so
            elif row.state == StageState.WAITING:
                row.not_before = 0.0
                row.error = None
            session.flush()
            return text_view(row)

    def get(self, job_id: str, text_id: str) -> TextView:
        """One piece of text work, with its text. Raises NotFound."""
        with self._db.read() as session:
            return _shown(session, _row(session, job_id, text_id))

    def list(self, job_id: str) -> list[TextView]:
        """All text work of a job, newest first, with the texts. Raises NotFound."""
        rows = (
            select(_T)
            .where(_T.job_id == job_id)
            .order_by(_T.created_at.desc(), _T.id.desc())
            .options(undefer(_T.text))
        )
        with self._db.read() as session:
            if session.get(JobRow, job_id) is None:
                raise _no_job()
            return [_shown(session, row) for row in session.scalars(rows)]

    def passages(self, job_id: str, task: TextTask) -> tuple[str, ...] | None:
        """The newest result of `task` passage by passage; None when there is none."""
        newest = (
            select(_T.passages)
            .where(_T.job_id == job_id, _T.task == task, _T.state == StageState.OK)
            .order_by(_T.created_at.desc())
            .limit(1)
        )
        with self._db.read() as session:
            found = session.scalar(newest)
        return None if found is None else tuple(json.loads(found))

    def cancel(self, job_id: str, text_id: str) -> TextView:
        """Withdraw a request; what is final stays as it is. Raises NotFound."""
        with self._db.write() as session:
            row = _row(session, job_id, text_id)
            if not StageState(row.state).final:
                withdraw(row, self._clock())
            return text_view(row)

    def topic(self, job_id: str) -> str:
        """What the hub calls a job's changes. Raises NotFound."""
        with self._db.read() as session:
            found = session.scalar(select(JobRow.recognition_id).where(JobRow.id == job_id))
        if found is None:
            raise _no_job()
        return found


def new_text(job_id: str, request: TextRequest, now: float, *, with_job: bool = False) -> TextRow:
    """A row for a request, waiting."""
    return TextRow(
        id=uuid.uuid4().hex,
        job_id=job_id,
        with_job=with_job,
        task=request.task,
        instruction=request.instruction,
        strict=request.strict,
        created_at=now,
    )


def begin_again(row: TextRow) -> None:
    """Start over as if just asked for."""
    row.state = StageState.WAITING
    row.failures = row.crashes = 0
    row.not_before = 0.0
    row.error = row.finished_at = None


def withdraw(row: TextRow, now: float) -> None:
    """Nobody wants it any more; whoever works on it loses the lease."""
    row.state = StageState.CANCELLED
    row.lease_owner = row.error = None
    row.finished_at = now


def require_room(session: Session, max_waiting: int) -> None:
    """Raise Overloaded when `max_waiting` texts wait already."""
    count = select(func.count()).select_from(_T).where(_T.state == StageState.WAITING)
    waiting = session.scalar(count) or 0
    if waiting >= max_waiting:
        raise Overloaded(
            f"{waiting} texts are waiting for the language model already.",
            hint="Ask again later; the transcript is kept.",
            retry_after_s=_RETRY_AFTER_S,
        )


def text_view(row: TextRow) -> TextView:
    """A row as clients see it."""
    error = ErrorBody.model_validate_json(row.error) if row.error else None
    waits = row.state == StageState.WAITING and error is not None
    return TextView(
        id=row.id,
        job_id=row.job_id,
        task=TextTask(row.task),
        instruction=row.instruction,
        strict=row.strict,
        with_job=row.with_job,
        state=StageState(row.state),
        text=row.text,
        model=row.model,
        warnings=tuple(Warning.model_validate(item) for item in json.loads(row.warnings)),
        pieces_done=row.pieces_done,
        pieces_total=row.pieces_total,
        error=error,
        retry_at=_moment(row.not_before) if waits else None,
        created_at=_moment(row.created_at),
        finished_at=None if row.finished_at is None else _moment(row.finished_at),
    )


def _shown(session: Session, row: TextRow) -> TextView:
    """The view; work that waits for a transcript which will not come counts as cancelled."""
    view = text_view(row)
    if view.state is StageState.WAITING and _recognition(session, row.job_id) in _NO_TRANSCRIPT:
        return view.model_copy(update={"state": StageState.CANCELLED})
    return view


def _recognition(session: Session, job_id: str) -> str | None:
    status = (
        select(RecognitionRow.status)
        .join(JobRow, JobRow.recognition_id == RecognitionRow.id)
        .where(JobRow.id == job_id)
    )
    return session.scalar(status)


def _require_transcript(session: Session, job_id: str) -> None:
    job = session.get(JobRow, job_id)
    if job is None:
        raise _no_job()
    if job.cancelled_at is not None or _recognition(session, job_id) != JobStatus.COMPLETED:
        raise NotFinished(
            "The job has no complete transcript.", hint="Ask again when it is completed."
        )


def _row(session: Session, job_id: str, text_id: str) -> TextRow:
    row = session.get(_T, text_id, options=[undefer(_T.text)])
    if row is None or row.job_id != job_id:
        raise NotFound("There is no such text work.", hint="It may have been removed.")
    return row


def _no_job() -> NotFound:
    return NotFound("There is no such job.", hint="It may have been removed.")


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
