"""The worker's side of the table of text work: claim, keep what there is so far, end.

Every write names the lease it was made under, in the same statement; a worker that lost its lease
writes nothing.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import Select, Update, select, update
from sqlalchemy.orm import Session

from stenograf.backend.db import Database, JobRow, RecognitionRow, TextRow, changed
from stenograf.backend.ledger import LostLease
from stenograf.contract.errors import StenografError
from stenograf.contract.jobs import JobStatus
from stenograf.contract.text import StageState, TextRequest, TextResult, TextTask
from stenograf.contract.transcript import Transcript, Warning

_T = TextRow
_MAX_CRASHES = 5
_MAX_ASKED_DELAY_S = 3600.0
_TWIN_POLL_S = 1.0
_warnings = TypeAdapter(tuple[Warning, ...])
_passages = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True)
class TextClaim:
    """The right to do one piece of text work, and what it is about."""

    id: str
    owner: str
    job_id: str
    topic: str
    request: TextRequest
    transcript_json: str

    def transcript(self) -> Transcript:
        """The transcript to work on; a day of speech takes its time to read."""
        return Transcript.model_validate_json(self.transcript_json)


class TextLedger:
    """Transactions of those who do text work. `boot_id` marks the leases of this process."""

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

    def claim_next(self) -> TextClaim | None:
        """Take the oldest work that is due and whose transcript is there; None without any."""
        now = self._clock()
        due = (
            select(_T.id)
            .join(JobRow, _T.job_id == JobRow.id)
            .join(RecognitionRow, JobRow.recognition_id == RecognitionRow.id)
            .where(
                _T.state == StageState.WAITING,
                _T.not_before <= now,
                RecognitionRow.status == JobStatus.COMPLETED,
                JobRow.cancelled_at.is_(None),
            )
            .order_by(_T.created_at, _T.id)
            .limit(1)
        )
        with self._db.read() as session:
            if session.scalar(due) is None:
                return None
        with self._db.write() as session:
            found = session.scalar(due)
            return None if found is None else self._claim(session, session.get_one(_T, found))

    def _claim(self, session: Session, row: TextRow) -> TextClaim:
        row.state = StageState.RUNNING
        row.lease_owner = f"{self._boot_id}:{uuid.uuid4().hex}"
        row.lease_until = self._clock() + self._lease_s
        row.error = None
        row.text, row.pieces_done, row.pieces_total = "", 0, None
        job = session.get_one(JobRow, row.job_id)
        recognition = session.get_one(RecognitionRow, job.recognition_id)
        return TextClaim(
            id=row.id,
            owner=row.lease_owner,
            job_id=row.job_id,
            topic=recognition.id,
            request=TextRequest(
                task=TextTask(row.task), instruction=row.instruction, strict=row.strict
            ),
            transcript_json=recognition.transcript or "{}",
        )

    def known(self, claim: TextClaim, key: str) -> bool:
        """Whether the same question is answered, or being answered, elsewhere in the table.

        An answer is taken over; a question that is being answered is looked at again shortly.
        """
        with self._db.write() as session:
            row = self._require(session, claim)
            row.key = key
            twins = select(_T).where(_T.key == key, _T.id != claim.id).order_by(_T.created_at)
            for twin in session.scalars(twins.where(_T.state == StageState.OK).limit(1)):
                _end(row, StageState.OK, self._clock())
                row.text, row.passages = twin.text, twin.passages
                row.model, row.warnings = twin.model, twin.warnings
                row.pieces_done, row.pieces_total = twin.pieces_done, twin.pieces_total
                return True
            busy = twins.where(_T.state == StageState.RUNNING, _T.lease_until > self._clock())
            if session.scalar(busy.limit(1)) is None:
                return False
            row.state, row.lease_owner = StageState.WAITING, None
            row.not_before = self._clock() + _TWIN_POLL_S
            return True

    def renew(self, claim: TextClaim) -> bool:
        """Keep the lease; False when it is no longer ours."""
        with self._db.write() as session:
            values = {"lease_until": self._clock() + self._lease_s}
            return changed(session, _held(claim).values(values)) == 1

    def progress(self, claim: TextClaim, text: str, done: int, total: int | None) -> None:
        """Keep what there is so far. Raises LostLease."""
        self._write(claim, text=text, pieces_done=done, pieces_total=total)

    def finish(self, claim: TextClaim, result: TextResult, pieces: int) -> None:
        """The result is there, after `pieces` answers. Raises LostLease."""
        with self._db.write() as session:
            row = self._require(session, claim)
            _end(row, StageState.OK, self._clock())
            row.text, row.model = result.text, result.model
            row.pieces_done = row.pieces_total = pieces
            row.warnings = _warnings.dump_json(result.warnings).decode()
            row.passages = _passages.dump_json(result.passages).decode()

    def fail(self, claim: TextClaim, error: StenografError) -> bool:
        """Give up, or wait for another attempt if the error's class says so; whether it was final.

        Raises LostLease.
        """
        now = self._clock()
        with self._db.write() as session:
            row = self._require(session, claim)
            row.failures += 1
            policy = error.retry
            final = policy is None or row.failures > policy.count
            if final:
                _end(row, StageState.FAILED, now)
            elif policy is not None:
                asked_s = min(error.retry_after_s or 0.0, _MAX_ASKED_DELAY_S)
                delay_s = max(policy.delay_s * self._retry_scale, asked_s)
                row.state, row.lease_owner = StageState.WAITING, None
                row.not_before = now + delay_s
            row.error = error.body().model_dump_json()
            return final

    def release_own(self) -> None:
        """Put back whatever this process was doing; it starts over."""
        own = _T.lease_owner.startswith(f"{self._boot_id}:")
        mine = update(_T).where(_T.state == StageState.RUNNING, own)
        with self._db.write() as session:
            changed(session, mine.values(state=StageState.WAITING, lease_owner=None))

    def take_back(self, *, all_of_others: bool = False) -> int:
        """Let what lost its lease wait again; how many.

        `all_of_others`: whatever another process was doing, which is right only for the one
        process on the database.
        """
        running = select(_T).where(_T.state == StageState.RUNNING)
        if all_of_others:
            return self._again(running.where(~_T.lease_owner.startswith(f"{self._boot_id}:")))
        return self._again(running.where(_T.lease_until < self._clock()))

    def _again(self, rows: Select[TextRow]) -> int:
        with self._db.write() as session:
            found = list(session.scalars(rows))
            for row in found:
                row.crashes += 1
                row.state, row.lease_owner, row.not_before = StageState.WAITING, None, 0.0
                if row.crashes > _MAX_CRASHES:
                    error = StenografError(
                        f"The service stopped {row.crashes} times while working on this text.",
                        hint="Look at the log of the backend; the transcript is kept.",
                    )
                    _end(row, StageState.FAILED, self._clock())
                    row.error = error.body().model_dump_json()
            return len(found)

    def _write(self, claim: TextClaim, **values: object) -> None:
        with self._db.write() as session:
            if changed(session, _held(claim).values(**values)) != 1:
                raise LostLease(claim.id)

    def _require(self, session: Session, claim: TextClaim) -> TextRow:
        row = session.get(_T, claim.id)
        if row is None or row.state != StageState.RUNNING or row.lease_owner != claim.owner:
            raise LostLease(claim.id)
        return row


def _end(row: TextRow, state: StageState, now: float) -> None:
    row.state = state
    row.lease_owner = row.error = None
    row.finished_at = now


def _held(claim: TextClaim) -> Update:
    return update(_T).where(
        _T.id == claim.id, _T.state == StageState.RUNNING, _T.lease_owner == claim.owner
    )
