"""Takes back work that nobody does any more, and wakes work that waits for the model service."""

import time
from collections.abc import Callable

from sqlalchemy import Select, select

from stenograf.backend.db import Database, RecognitionRow
from stenograf.contract.errors import (
    ErrorBody,
    ModelNotReady,
    StenografError,
    Unavailable,
    by_code,
)
from stenograf.contract.jobs import JobStatus, Stage

_MAX_CRASHES = 10  # leases lost in a row without one stored window
_R = RecognitionRow


class Recovery:
    """The sweeper's transactions. `boot_id` marks the leases of this process."""

    def __init__(
        self, database: Database, *, boot_id: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = database
        self._boot_id = boot_id
        self._clock = clock

    def waits_for_model(self) -> bool:
        """Whether a queued recognition's last error was the model service's."""
        now = self._clock()
        with self._db.read() as session:
            return any(_is_a(row, Unavailable) for row in session.scalars(_delayed(now)))

    def is_due(self) -> bool:
        """Whether a queued recognition may begin."""
        due = select(_R.id).where(_R.status == JobStatus.QUEUED, _R.not_before <= self._clock())
        with self._db.read() as session:
            return session.scalar(due.limit(1)) is not None

    def wake(self, *, came_back: bool) -> int:
        """The model service answers: what waits for it is due now. How many.

        What found it not ready always is. What failed at it keeps its delay, unless the service
        was away since and has come back.
        """
        now = self._clock()
        blamed = Unavailable if came_back else ModelNotReady
        with self._db.write() as session:
            waiting = [row for row in session.scalars(_delayed(now)) if _is_a(row, blamed)]
            for row in waiting:
                row.not_before = now
            return len(waiting)

    def sweep(self) -> int:
        """Queue again what lost its lease. How many."""
        now = self._clock()
        lost = select(_R).where(_R.status == JobStatus.RUNNING, _R.lease_until < now)
        return self._requeue_crashed(lost)

    def release_dead(self) -> int:
        """Queue again whatever another process left running.

        Only right when this process is the only one on the database.
        """
        ours = _R.lease_owner.startswith(f"{self._boot_id}:")
        return self._requeue_crashed(select(_R).where(_R.status == JobStatus.RUNNING, ~ours))

    def _requeue_crashed(self, rows: Select[RecognitionRow]) -> int:
        with self._db.write() as session:
            found = list(session.scalars(rows))
            for row in found:
                row.lease_owner = None
                row.crashes += 1
                row.status = JobStatus.QUEUED
                row.stage = Stage.WAITING
                row.not_before = 0.0
                if row.crashes > _MAX_CRASHES:
                    error = StenografError(
                        f"The service stopped {row.crashes} times while working on this recording.",
                        hint="Look at the log of the backend; the recording is kept.",
                    )
                    row.status = JobStatus.FAILED
                    row.error = error.body().model_dump_json()
                    row.finished_at = self._clock()
            return len(found)

    def unfinished(self) -> set[str]:
        """Ids of recognitions that may still need their spool."""
        active = select(_R.id).where(_R.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)))
        with self._db.read() as session:
            return set(session.scalars(active))


def _delayed(now: float) -> Select[RecognitionRow]:
    return select(_R).where(
        _R.status == JobStatus.QUEUED, _R.not_before > now, _R.error.is_not(None)
    )


def _is_a(row: RecognitionRow, kind: type[StenografError]) -> bool:
    code = ErrorBody.model_validate_json(row.error or "").code
    return issubclass(by_code(code), kind)
