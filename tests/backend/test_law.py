"""Law 7 and its kin, under any order of requests, cancels, crashes and results."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from stenograf.backend.db import Database, JobRow, RecognitionRow
from stenograf.backend.jobs import JobStore
from stenograf.backend.ledger import Claim, Ledger, LostLease
from stenograf.backend.records import Heard, Plan, PlannedWindow
from stenograf.backend.recovery import Recovery
from stenograf.contract.errors import Conflict, NetworkTimeout, UndecodableAudio
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript

from .conftest import Clock, content

WINDOWS = 3
PLAN = Plan(spans=(), windows=tuple(PlannedWindow(start=n, end=n + 1) for n in range(WINDOWS)))
NOTHING = Heard(segments=(), language="ru")


class House(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.clock = Clock()
        self.database = Database(f"sqlite:///{path / 'x.db'}")
        self.database.migrate(path / "lock")
        self.jobs = JobStore(self.database, max_queued=100, clock=self.clock)
        self.ledger = Ledger(self.database, boot_id="b", lease_s=30, clock=self.clock)
        self.recovery = Recovery(self.database, boot_id="b", clock=self.clock)
        self.job_ids: list[str] = []
        self.cancelled: set[str] = set()
        self.claims: list[Claim] = []
        self.paid: Counter[tuple[str, int]] = Counter()

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @rule(recording=st.integers(0, 2))
    def submit(self, recording: int) -> None:
        upload_id = f"u{len(self.job_ids)}"
        view = self.jobs.submit(content(recording, upload_id), TranscribeOptions(), "", "m")
        self.job_ids.append(view.id)
        assert view.status is not JobStatus.FAILED

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.job_ids:
            job_id = data.draw(st.sampled_from(self.job_ids))
            view, _ = self.jobs.cancel(job_id)
            if view.status is JobStatus.CANCELLED:
                self.cancelled.add(job_id)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        if self.job_ids:
            job_id = data.draw(st.sampled_from(self.job_ids))
            try:
                view = self.jobs.retry(job_id)
            except Conflict:
                return
            self.cancelled.discard(job_id)
            assert view.status not in (JobStatus.FAILED, JobStatus.CANCELLED)

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        if self.job_ids:
            job_id = data.draw(st.sampled_from(self.job_ids))
            self.jobs.purge(job_id)
            self.job_ids.remove(job_id)
            self.cancelled.discard(job_id)

    @rule()
    def claim(self) -> None:
        claim = self.ledger.claim_next()
        if claim is not None:
            if claim.plan is None:
                self.ledger.keep_plan(claim, PLAN)
            self.claims.append(claim)

    @rule(data=st.data(), end=st.sampled_from(["window", "finish", "fail", "retry", "release"]))
    def work(self, data: st.DataObject, end: str) -> None:
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        try:
            self._work(claim, end)
        except LostLease:
            self.claims.remove(claim)

    def _work(self, claim: Claim, end: str) -> None:
        missing = [n for n in range(WINDOWS) if n not in self.ledger.results(claim)]
        if end == "window":
            if missing:
                self.ledger.store_window(claim, missing[0], 1, NOTHING)
                self.paid[claim.id, missing[0]] += 1
            return
        if end == "finish" and not missing:
            self.ledger.finish(claim, Transcript(duration=1))
        elif end == "fail":
            self.ledger.fail(claim, UndecodableAudio("no sound"))
        elif end == "retry":
            self.ledger.fail(claim, NetworkTimeout("late"))
        elif end == "release":
            self.ledger.release(claim)
        else:
            return
        self.claims.remove(claim)

    @rule()
    def time_passes_without_a_sign_of_life(self) -> None:
        self.clock.advance(31)
        self.recovery.sweep()

    @invariant()
    def no_window_is_paid_twice(self) -> None:
        assert all(times == 1 for times in self.paid.values())

    @invariant()
    def one_computation_each_and_somebody_wants_what_is_active(self) -> None:
        with self.database.read() as session:
            recognitions = list(session.scalars(select(RecognitionRow)))
            jobs = list(session.scalars(select(JobRow)))
        contents = [recognition.content_sha256 for recognition in recognitions]
        assert len(contents) == len(set(contents))
        wanted = {job.recognition_id for job in jobs if job.cancelled_at is None}
        for recognition in recognitions:
            if recognition.status in (JobStatus.QUEUED, JobStatus.RUNNING):
                assert recognition.id in wanted
            if recognition.status == JobStatus.CANCELLED:
                assert recognition.id not in wanted
            assert (recognition.status == JobStatus.RUNNING) == bool(recognition.lease_owner)

    @invariant()
    def the_cancelled_stay_cancelled(self) -> None:
        for job_id in self.cancelled:
            assert self.jobs.get(job_id).status is JobStatus.CANCELLED


TestHouse = House.TestCase
TestHouse.settings = settings(max_examples=25, stateful_step_count=30)
