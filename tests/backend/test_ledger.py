"""The worker's side of the job table: leases, results, retries."""

import threading

import pytest

from stenograf.backend.ledger import Claim, LostLease
from stenograf.backend.records import Heard, Plan, PlannedSpan, PlannedWindow
from stenograf.contract.errors import (
    ModelNotReady,
    NetworkTimeout,
    OutOfResources,
    StenografError,
    Unavailable,
    UndecodableAudio,
)
from stenograf.contract.jobs import JobStatus, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript

from ..waiting import all_at_once
from .conftest import Tables, content

RU = TranscribeOptions()
PLAN = Plan(
    spans=(PlannedSpan(start=0, end=300),),
    windows=(PlannedWindow(start=0, end=100), PlannedWindow(start=100, end=300)),
)
NOTHING = Heard(segments=(), language="ru")


def claimed(tables: Tables, model: str = "m") -> Claim:
    tables.jobs.submit(content(), RU, "", model)
    claim = tables.ledger.claim_next()
    assert claim is not None
    return claim


def test_one_of_many_claims_wins(tables: Tables) -> None:
    tables.jobs.submit(content(), RU, "", "m")
    start = threading.Barrier(8)

    def race(_: int) -> Claim | None:
        start.wait(60)
        return tables.ledger.claim_next()

    assert all_at_once(8, race).count(None) == 7


def test_a_lost_lease_writes_nothing(tables: Tables) -> None:
    claim = claimed(tables)
    tables.ledger.keep_plan(claim, PLAN)
    tables.clock.advance(31)
    assert tables.recovery.sweep() == 1
    again = tables.another_process().claim_next()
    assert again is not None
    assert again.plan == PLAN
    with pytest.raises(LostLease):
        tables.ledger.store_window(claim, 0, 100, NOTHING)
    with pytest.raises(LostLease):
        tables.ledger.finish(claim, Transcript())
    assert not tables.ledger.renew(claim)
    assert tables.ledger.results(again) == {}


def test_a_stored_window_renews_the_lease_and_survives(tables: Tables) -> None:
    claim = claimed(tables)
    tables.ledger.keep_plan(claim, PLAN)
    tables.clock.advance(20)
    tables.ledger.store_window(claim, 1, 200, NOTHING)
    tables.clock.advance(20)
    assert tables.recovery.sweep() == 0
    tables.clock.advance(11)
    assert tables.recovery.sweep() == 1
    again = tables.ledger.claim_next()
    assert again is not None
    assert set(tables.ledger.results(again)) == {1}


def test_leases_of_a_dead_process_are_taken_back_at_once(tables: Tables) -> None:
    mine = claimed(tables)
    tables.jobs.submit(content(2), RU, "", "m")
    theirs = tables.another_process().claim_next()
    assert theirs is not None
    assert tables.recovery.release_dead() == 1
    assert tables.ledger.renew(mine)
    assert not tables.another_process().renew(theirs)


def test_a_recording_that_always_kills_the_service_fails_in_the_end(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    for _ in range(50):
        if tables.ledger.claim_next() is None:
            break
        tables.clock.advance(31)
        tables.recovery.sweep()
    assert tables.jobs.get(job.id).status is JobStatus.FAILED


@pytest.mark.parametrize(
    ("error", "delay_s", "count"),
    [
        (NetworkTimeout("late"), 30, 1),
        (Unavailable("away"), 300, 2),
        (OutOfResources("full"), 1800, 3),
        (UndecodableAudio("text"), 0, 0),
        (StenografError("bug"), 0, 0),
    ],
)
def test_retries_belong_to_the_error_class(
    tables: Tables, error: StenografError, delay_s: float, count: int
) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    for _ in range(count):
        claim = tables.ledger.claim_next()
        assert claim is not None
        assert not tables.ledger.fail(claim, error)
        waiting = tables.jobs.get(job.id)
        assert waiting.status is JobStatus.QUEUED
        assert waiting.error is not None
        tables.clock.advance(delay_s - 1)
        assert tables.ledger.claim_next() is None
        tables.clock.advance(2)
    claim = tables.ledger.claim_next()
    assert claim is not None
    assert tables.ledger.fail(claim, error)
    assert tables.jobs.get(job.id).status is JobStatus.FAILED


def test_waiting_for_the_model_counts_no_failure_and_ends_with_it(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    for _ in range(10):
        claim = tables.ledger.claim_next()
        assert claim is not None
        tables.ledger.postpone(claim, ModelNotReady("loading"), 300)
        assert tables.ledger.claim_next() is None
        assert not tables.recovery.is_due()
        assert tables.recovery.waits_for_model()
        assert tables.recovery.wake(came_back=False) == 1
        assert tables.recovery.is_due()
    assert tables.jobs.get(job.id).status is JobStatus.QUEUED
    assert not tables.recovery.waits_for_model()


def test_a_failure_keeps_its_delay_unless_the_model_service_came_back(tables: Tables) -> None:
    claim = claimed(tables)
    tables.ledger.fail(claim, Unavailable("500"))
    assert tables.recovery.wake(came_back=False) == 0
    assert tables.ledger.claim_next() is None
    assert tables.recovery.wake(came_back=True) == 1
    assert tables.ledger.claim_next() is not None


def test_progress_and_expected_end(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    claim = tables.ledger.claim_next()
    assert claim is not None
    second = 16_000
    plan = Plan(
        spans=(),
        windows=(
            PlannedWindow(start=0, end=10 * second),
            PlannedWindow(start=10 * second, end=40 * second),
        ),
    )
    tables.ledger.keep_plan(claim, plan)
    tables.ledger.begin_recognizing(claim)
    assert tables.jobs.get(job.id).progress.eta_s is None
    tables.clock.advance(5)
    tables.ledger.store_window(claim, 0, 10 * second, NOTHING)
    progress = tables.jobs.get(job.id).progress
    assert progress.stage is Stage.RECOGNIZING
    assert (progress.done_s, progress.total_s) == (10.0, 40.0)
    assert (progress.windows_done, progress.windows_total) == (1, 2)
    assert progress.eta_s == pytest.approx(15.0)


def test_windows_are_numbered_in_the_order_they_finish(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    claim = tables.ledger.claim_next()
    assert claim is not None
    tables.ledger.keep_plan(claim, PLAN)
    tables.ledger.store_window(claim, 1, 200, NOTHING)
    tables.ledger.store_window(claim, 0, 100, NOTHING)
    seen = [(w.seq, w.index) for w in tables.jobs.snapshot(job.id, 0).windows]
    assert seen == [(1, 1), (2, 0)]
    later = [w.index for w in tables.jobs.snapshot(job.id, 1).windows]
    assert later == [0]


def test_a_model_named_late_joins_the_computation_that_is_already_there(tables: Tables) -> None:
    early = tables.jobs.submit(content(), RU, "", "")
    claim = tables.ledger.claim_next()
    assert claim is not None
    late = tables.jobs.submit(content(), RU, "", "m")
    assert not tables.ledger.identify(claim, "m")
    other = tables.ledger.claim_next()
    assert other is not None
    tables.ledger.finish(other, Transcript(duration=5))
    assert tables.jobs.get(early.id).status is JobStatus.COMPLETED
    assert tables.jobs.get(late.id).status is JobStatus.COMPLETED


def test_another_model_drops_the_windows_of_the_first(tables: Tables) -> None:
    claim = claimed(tables, "old")
    tables.ledger.keep_plan(claim, PLAN)
    tables.ledger.store_window(claim, 0, 100, NOTHING)
    assert tables.ledger.identify(claim, "new")
    assert tables.ledger.results(claim) == {}


def numbers(tables: Tables, job_id: str, after_seq: int) -> tuple[int | None, list[int]]:
    """The number of the reset, if the look begins with one, and those of the windows."""
    snapshot = tables.jobs.snapshot(job_id, after_seq)
    return snapshot.reset_seq, [window.seq for window in snapshot.windows]


def test_window_numbers_go_on_where_windows_become_void(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "old")
    claim = tables.ledger.claim_next()
    assert claim is not None
    tables.ledger.keep_plan(claim, PLAN)
    tables.ledger.forget_windows(claim)
    assert numbers(tables, job.id, 0) == (None, [])
    tables.ledger.store_window(claim, 0, 100, NOTHING)
    tables.ledger.store_window(claim, 1, 200, NOTHING)
    assert tables.ledger.identify(claim, "new")
    assert numbers(tables, job.id, 2) == (3, [])
    tables.ledger.store_window(claim, 1, 200, NOTHING)
    tables.ledger.forget_windows(claim)
    tables.ledger.forget_windows(claim)
    tables.ledger.store_window(claim, 0, 100, NOTHING)
    assert numbers(tables, job.id, 0) == (None, [6])
    for seen_before in (1, 2, 3, 4):
        assert numbers(tables, job.id, seen_before) == (5, [6])
    assert numbers(tables, job.id, 5) == (None, [6])
    assert numbers(tables, job.id, 6) == (None, [])
    assert numbers(tables, job.id, 7) == (5, [6])


@pytest.mark.parametrize("of_the_twin", [0, 1, 2])
def test_a_twin_tells_its_windows_anew_to_those_who_saw_others(
    tables: Tables, of_the_twin: int
) -> None:
    late = tables.jobs.submit(content(), RU, "", "new")
    twin = tables.ledger.claim_next()
    early = tables.jobs.submit(content(), RU, "", "old")
    claim = tables.ledger.claim_next()
    assert claim is not None
    assert twin is not None
    for each, windows in ((twin, of_the_twin), (claim, 2)):
        tables.ledger.keep_plan(each, PLAN)
        for index in range(windows):
            tables.ledger.store_window(each, index, 100, NOTHING)
    assert not tables.ledger.identify(claim, "new")
    for job, seen in ((early, 2), (early, 1), (late, of_the_twin)):
        reset, windows_told = numbers(tables, job.id, seen)
        assert reset == (3 if seen else None)
        assert windows_told == [4, 5][:of_the_twin]


def test_a_twin_stays_as_it_is_for_those_who_saw_nothing(tables: Tables) -> None:
    late = tables.jobs.submit(content(), RU, "", "new")
    twin = tables.ledger.claim_next()
    tables.jobs.submit(content(), RU, "", "")
    claim = tables.ledger.claim_next()
    assert claim is not None
    assert twin is not None
    tables.ledger.keep_plan(twin, PLAN)
    tables.ledger.store_window(twin, 0, 100, NOTHING)
    assert not tables.ledger.identify(claim, "new")
    assert numbers(tables, late.id, 1) == (None, [])
