"""The worker's side of the job table: claim, keep results, end; and what the sweeper does.

Every write names the lease it was made under, in the same statement; a worker that lost its lease
writes nothing.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Select,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from stenograf.audio.decode import Decoded
from stenograf.backend.db import Base, Database, JobRow, RecognitionRow, WindowRow, changed
from stenograf.backend.keys import fold, preview, recognition_key
from stenograf.backend.records import Heard, Plan
from stenograf.contract.errors import StenografError
from stenograf.contract.jobs import JobStatus, Overview, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript

_R = RecognitionRow


def _holds(columns: Any, claimed_id: Any, owner: Any) -> tuple[Any, ...]:
    """That a recognition is under way at this owner; `columns` are those of its table or row."""
    running = columns.status == JobStatus.RUNNING
    return columns.id == claimed_id, running, columns.lease_owner == owner


# What happens for every window is put together once, and on the tables themselves: building a
# statement, and an object for the row, would take longer than the database does.
_recognitions, _windows = (Base.metadata.tables[name] for name in ("recognitions", "windows"))
_COUNT_WINDOW = (
    update(_recognitions)
    .where(*_holds(_recognitions.c, bindparam("claimed_id"), bindparam("owner")))
    .values(
        windows_done=_recognitions.c.windows_done + 1,
        done=_recognitions.c.done + bindparam("n_samples"),
        lease_until=bindparam("until"),
        crashes=0,
    )
)
_ADD_WINDOW = insert(_windows).values(
    recognition_id=bindparam("claimed_id"),
    window_index=bindparam("index"),
    done_seq=select(_recognitions.c.windows_done)
    .where(_recognitions.c.id == bindparam("claimed_id"))
    .scalar_subquery(),
    result=bindparam("heard"),
)


class LostLease(Exception):
    """Another worker, or the job's owner, took the recognition away."""


@dataclass(frozen=True)
class Claim:
    """The right to work on one recognition, and what earlier attempts left behind."""

    id: str
    key: str
    owner: str
    content_sha256: str
    options: TranscribeOptions
    model: str
    upload_ids: tuple[str, ...]
    sound: Decoded | None
    plan: Plan | None


@dataclass(frozen=True)
class Due:
    """A recognition that anybody may claim; `n_samples` where an earlier attempt decoded it."""

    id: str
    content_sha256: str
    n_samples: int | None


class Ledger:
    """Transactions of the workers. `boot_id` marks the leases of this process."""

    def __init__(
        self,
        database: Database,
        *,
        boot_id: str,
        lease_s: float,
        retry_scale: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = database
        self._boot_id = boot_id
        self._lease_s = lease_s
        self._retry_scale = retry_scale
        self._clock = clock

    def claim_next(self) -> Claim | None:
        """Take the oldest recognition that is due; None when there is none."""
        due = _due(_R.id, now=self._clock()).limit(1)
        while True:
            with self._db.read() as session:
                found = session.scalar(due)
            if found is None:
                return None
            claim = self.claim(found)
            if claim is not None:
                return claim

    def due(self, limit: int) -> Sequence[Due]:
        """The recognitions that are due, oldest first, at most `limit` of them."""
        rows = _due(_R.id, _R.content_sha256, _R.duration, now=self._clock()).limit(limit)
        with self._db.read() as session:
            return [Due(*row) for row in session.execute(rows)]

    def upload_ids(self, recognition_id: str) -> Sequence[str]:
        """Uploads with the recording of a recognition, those of jobs that still want it first."""
        with self._db.read() as session:
            return session.scalars(_uploads(recognition_id)).all()

    def claim(self, recognition_id: str) -> Claim | None:
        """Take this recognition if it is queued and due: one conditional UPDATE decides."""
        now, owner = self._clock(), f"{self._boot_id}:{uuid.uuid4().hex}"
        taking = (
            update(_R)
            .where(_R.id == recognition_id, _R.status == JobStatus.QUEUED, _R.not_before <= now)
            .values(
                status=JobStatus.RUNNING,
                stage=Stage.WAITING,
                lease_owner=owner,
                lease_until=now + self._lease_s,
                started_at=func.coalesce(_R.started_at, now),
                finished_at=None,
                recognizing_at=None,
                error=None,
            )
        )
        with self._db.write() as session:
            if changed(session, taking) != 1:
                return None
            return self._claim_of(session, session.get_one(_R, recognition_id))

    def _claim_of(self, session: Session, row: RecognitionRow) -> Claim:
        return Claim(
            id=row.id,
            key=row.key,
            owner=row.lease_owner or "",
            content_sha256=row.content_sha256,
            options=TranscribeOptions.model_validate_json(row.options),
            model=row.model,
            upload_ids=tuple(session.scalars(_uploads(row.id))),
            sound=Decoded.model_validate_json(row.sound) if row.sound else None,
            plan=Plan.model_validate_json(row.plan) if row.plan else None,
        )

    def renew(self, claim: Claim) -> bool:
        """Keep the lease; False when it is no longer ours."""
        keeping = _held(claim).values(lease_until=self._clock() + self._lease_s)
        with self._db.write() as session:
            return changed(session, keeping) == 1

    def identify(self, claim: Claim, model: str, fingerprint: str = "") -> bool:
        """Record which model answers; windows that another one heard are forgotten.

        False: another recognition already is that computation; this one's jobs now wait for it.
        """
        key = recognition_key(claim.content_sha256, claim.options, model, fingerprint)
        if key == claim.key:
            return True
        with self._db.write() as session:
            self._require(session, claim)
            twin = session.scalar(select(_R).where(_R.key == key, _R.id != claim.id))
            if twin is None:
                _void_windows(session, claim)
                session.execute(_held(claim).values(key=key, model=model))
                return True
            _number_beyond(session, twin.id, claim.id)
            if twin.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                requeue(twin, self._clock())
            moving = update(JobRow).where(JobRow.recognition_id == claim.id)
            session.execute(moving.values(recognition_id=twin.id))
            session.execute(delete(_R).where(_R.id == claim.id))
            return False

    def stage(self, claim: Claim, stage: Stage) -> None:
        """Say what is being done."""
        self._write(claim, stage=stage)

    def keep_sound(self, claim: Claim, sound: Decoded, overview: Overview) -> None:
        """The file is decoded and its spool sealed on disk."""
        self._write(
            claim,
            sound=sound.model_dump_json(),
            overview=overview.model_dump_json(),
            duration=sound.n_samples,
        )

    def keep_plan(self, claim: Claim, plan: Plan) -> None:
        """The windows so far; they never change while results of them are stored."""
        self._write(
            claim,
            plan=plan.model_dump_json(),
            speech=plan.n_samples if plan.complete else None,
            windows_total=len(plan.windows) if plan.complete else None,
        )

    def forget_windows(self, claim: Claim) -> None:
        """Every window is to be recognized again."""
        with self._db.write() as session:
            self._require(session, claim)
            _void_windows(session, claim)

    def begin_recognizing(self, claim: Claim, ago_s: float = 0.0) -> None:
        """Start the clock that the expected end is computed from, as if so many seconds ago."""
        self._write(
            claim,
            stage=Stage.RECOGNIZING,
            recognizing_at=self._clock() - ago_s,
            recognizing_from=_R.done,
        )

    def results(self, claim: Claim) -> dict[int, Heard]:
        """Windows that earlier attempts finished, by index."""
        stored = select(WindowRow).where(WindowRow.recognition_id == claim.id)
        with self._db.read() as session:
            return {
                row.index: Heard.model_validate_json(row.result) for row in session.scalars(stored)
            }

    def store_window(self, claim: Claim, index: int, n_samples: int, heard: Heard) -> None:
        """Keep one window's text and renew the lease. Raises LostLease."""
        mine = {"claimed_id": claim.id, "owner": claim.owner}
        counted = {"n_samples": n_samples, "until": self._clock() + self._lease_s}
        window = {"claimed_id": claim.id, "index": index, "heard": heard.model_dump_json()}
        with self._db.write() as session:
            connection = session.connection()
            if connection.execute(_COUNT_WINDOW, mine | counted).rowcount != 1:
                raise LostLease(claim.id)
            connection.execute(_ADD_WINDOW, window)

    def finish(self, claim: Claim, transcript: Transcript) -> None:
        """The transcript is complete."""
        self._write(
            claim,
            status=JobStatus.COMPLETED,
            stage=Stage.FINISHING,
            transcript=transcript.model_dump_json(),
            preview=preview(transcript.text),
            search_text=fold(transcript.text),
            error=None,
            finished_at=self._clock(),
            lease_owner=None,
        )

    def fail(self, claim: Claim, error: StenografError) -> bool:
        """Give up, or queue again if the error's class says so; whether it was final."""
        now = self._clock()
        with self._db.write() as session:
            row = self._require(session, claim)
            row.error = error.body().model_dump_json()
            row.lease_owner = None
            row.failures += 1
            policy = error.retry
            if policy is not None and row.failures <= policy.count:
                row.status = JobStatus.QUEUED
                row.stage = Stage.WAITING
                row.not_before = now + policy.delay_s * self._retry_scale
                return False
            row.status = JobStatus.FAILED
            row.finished_at = now
            return True

    def postpone(self, claim: Claim, error: StenografError, delay_s: float) -> None:
        """Queue again without counting a failure: the model service is not there yet."""
        self._write(
            claim,
            status=JobStatus.QUEUED,
            stage=Stage.WAITING,
            error=error.body().model_dump_json(),
            not_before=self._clock() + delay_s * self._retry_scale,
            lease_owner=None,
        )

    def release(self, claim: Claim) -> None:
        """Put the work back at once; what is stored stays."""
        self._write(
            claim, status=JobStatus.QUEUED, stage=Stage.WAITING, lease_owner=None, not_before=0.0
        )

    def _write(self, claim: Claim, **values: object) -> None:
        with self._db.write() as session:
            if changed(session, _held(claim).values(**values)) != 1:
                raise LostLease(claim.id)

    def _require(self, session: Session, claim: Claim) -> RecognitionRow:
        row = session.get(_R, claim.id)
        if row is None or row.status != JobStatus.RUNNING or row.lease_owner != claim.owner:
            raise LostLease(claim.id)
        return row


def requeue(row: RecognitionRow, now: float) -> None:
    """Start over, keeping every stored window."""
    row.status = JobStatus.QUEUED
    row.stage = Stage.WAITING
    row.failures = row.crashes = 0
    row.not_before = 0.0
    row.queued_at = now
    row.error = None
    row.started_at = row.finished_at = None


def _void_windows(session: Session, claim: Claim) -> None:
    """Drop all windows; who watches is told so under a number of its own, if there were any."""
    session.execute(delete(WindowRow).where(WindowRow.recognition_id == claim.id))
    told = case((_R.windows_done > 0, _R.reset_seq + _R.windows_done + 1), else_=_R.reset_seq)
    session.execute(_held(claim).values(done=0, windows_done=0, reset_seq=told))


def _number_beyond(session: Session, twin_id: str, left_id: str) -> None:
    """Let a twin tell all its windows anew, under numbers that were not given before.

    Those who come to it from the recognition they leave have seen other windows there.
    """
    last = _R.reset_seq + _R.windows_done
    seen = session.scalar(select(last).where(_R.id == left_id)) or 0
    if seen:
        beyond = case((last > seen, last + 1), else_=seen + 1)
        session.execute(update(_R).where(_R.id == twin_id).values(reset_seq=beyond))


def _due(*columns: InstrumentedAttribute[Any], now: float) -> Select[Any]:
    return (
        select(*columns)
        .where(_R.status == JobStatus.QUEUED, _R.not_before <= now)
        .order_by(_R.queued_at, _R.id)
    )


def _uploads(recognition_id: str) -> Select[Any]:
    return (
        select(JobRow.upload_id)
        .where(JobRow.recognition_id == recognition_id)
        .order_by(JobRow.cancelled_at.is_not(None), JobRow.created_at)
    )


def _held(claim: Claim) -> Update:
    return update(_R).where(*_holds(_R, claim.id, claim.owner))
