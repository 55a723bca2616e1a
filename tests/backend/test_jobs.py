"""The person's side of the job table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.backend.keys import fold
from stenograf.contract.errors import (
    BadRequest,
    Conflict,
    NotFinished,
    NotFound,
    Overloaded,
    UndecodableAudio,
)
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.contract.transcript import Segment, Transcript

from .conftest import Tables, content

RU = TranscribeOptions()
EN = TranscribeOptions(decode=DecodeOptions(language="en"))


def said(text: str) -> Transcript:
    return Transcript(duration=16_000, segments=(Segment(start=0, end=16_000, text=text),))


def complete(tables: Tables, text: str) -> None:
    claim = tables.ledger.claim_next()
    assert claim is not None
    tables.ledger.finish(claim, said(text))


def test_same_bytes_options_and_model_are_one_computation(tables: Tables) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    second = tables.jobs.submit(content(1, "b"), RU, "", "m")
    assert first.id != second.id
    complete(tables, "привет")
    assert tables.ledger.claim_next() is None
    third = tables.jobs.submit(content(1, "c"), RU, "", "m")
    assert third.status is JobStatus.COMPLETED
    assert tables.jobs.transcript(second.id).text == "привет"


@pytest.mark.parametrize("other", ["bytes", "options", "model"])
def test_anything_else_is_another_computation(tables: Tables, other: str) -> None:
    tables.jobs.submit(content(1), RU, "", "m")
    tables.jobs.submit(
        content(2 if other == "bytes" else 1),
        EN if other == "options" else RU,
        "",
        "n" if other == "model" else "m",
    )
    assert tables.ledger.claim_next() is not None
    assert tables.ledger.claim_next() is not None


def test_queue_refuses_when_full_but_not_what_it_already_has(tables: Tables) -> None:
    for n in range(3):
        tables.jobs.submit(content(n), RU, "", "m")
    with pytest.raises(Overloaded) as refusal:
        tables.jobs.submit(content(9), RU, "", "m")
    assert refusal.value.retry_after_s
    assert tables.jobs.submit(content(2), RU, "", "m").status is JobStatus.QUEUED


def test_queue_position_counts_what_runs_and_what_came_earlier(tables: Tables) -> None:
    ids = []
    for n in range(3):
        ids.append(tables.jobs.submit(content(n), RU, "", "m").id)
        tables.clock.advance(1)
    positions = [tables.jobs.get(job_id).progress.queue_position for job_id in ids]
    assert positions == [0, 1, 2]
    tables.ledger.claim_next()
    positions = [tables.jobs.get(job_id).progress.queue_position for job_id in ids]
    assert positions == [None, 1, 2]


def test_cancelling_one_of_two_requests_leaves_the_work_to_the_other(tables: Tables) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    second = tables.jobs.submit(content(1, "b"), RU, "", "m")
    claim = tables.ledger.claim_next()
    assert claim is not None
    view, unwanted = tables.jobs.cancel(first.id)
    assert view.status is JobStatus.CANCELLED
    assert unwanted is None
    assert tables.ledger.renew(claim)
    view, unwanted = tables.jobs.cancel(second.id)
    assert unwanted == claim.id
    assert not tables.ledger.renew(claim)


def test_a_cancelled_request_stays_cancelled_when_another_finishes_the_work(
    tables: Tables,
) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    tables.jobs.cancel(first.id)
    second = tables.jobs.submit(content(1, "b"), RU, "", "m")
    complete(tables, "да")
    assert tables.jobs.get(first.id).status is JobStatus.CANCELLED
    assert tables.jobs.get(second.id).status is JobStatus.COMPLETED
    with pytest.raises(NotFinished):
        tables.jobs.transcript(first.id)


def test_cancelling_a_finished_job_changes_nothing(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    complete(tables, "готово")
    assert tables.jobs.cancel(job.id)[0].status is JobStatus.COMPLETED


def test_retry_is_for_failed_and_cancelled_jobs(tables: Tables) -> None:
    job = tables.jobs.submit(content(), RU, "", "m")
    with pytest.raises(Conflict):
        tables.jobs.retry(job.id)
    claim = tables.ledger.claim_next()
    assert claim is not None
    tables.ledger.fail(claim, UndecodableAudio("no sound"))
    failed = tables.jobs.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.code == "undecodable_audio"
    again = tables.jobs.retry(job.id)
    assert again.status is JobStatus.QUEUED
    assert again.error is None
    tables.jobs.cancel(job.id)
    assert tables.jobs.retry(job.id).status is JobStatus.QUEUED


def test_purge_removes_what_nobody_else_refers_to(tables: Tables) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    second = tables.jobs.submit(content(1, "a"), RU, "", "m")
    assert tables.jobs.purge(first.id).upload_id is None
    with pytest.raises(NotFound):
        tables.jobs.get(first.id)
    claim = tables.ledger.claim_next()
    assert claim is not None
    removal = tables.jobs.purge(second.id)
    assert removal.upload_id == "a"
    assert removal.recognition_id == claim.id
    assert not tables.ledger.renew(claim)


def test_purging_the_last_who_wanted_it_ends_the_work(tables: Tables) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    second = tables.jobs.submit(content(1, "b"), RU, "", "m")
    claim = tables.ledger.claim_next()
    assert claim is not None
    tables.jobs.cancel(first.id)
    assert tables.jobs.purge(second.id).recognition_id == claim.id
    assert not tables.ledger.renew(claim)


def test_list_is_newest_first_and_pages_without_gap(tables: Tables) -> None:
    ids = []
    for n in range(7):
        ids.append(tables.jobs.submit(content(1, f"u{n}"), RU, "", "m").id)
        tables.clock.advance(1.0 if n % 2 else 0.0)
    seen: list[str] = []
    cursor = ""
    while True:
        page = tables.jobs.list(limit=2, cursor=cursor)
        seen += [job.id for job in page.data]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert sorted(seen) == sorted(ids)
    assert len(seen) == 7
    assert seen[0] == ids[-1]


@pytest.mark.parametrize("cursor", ["x", "====", "MQ", "0 ", "зов"])
def test_a_foreign_cursor_is_refused(tables: Tables, cursor: str) -> None:
    with pytest.raises(BadRequest):
        tables.jobs.list(limit=2, cursor=cursor)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ПЛАНЁРКА", True),
        ("планерка", True),
        ("ёлка", True),
        ("ЕЛКА зелёная", True),
        ("встреча", True),
        ("100%", True),
        ("100_", False),
        ("сосна", False),
        ("", True),
    ],
)
def test_search_in_title_name_and_text(tables: Tables, query: str, found: bool) -> None:
    tables.jobs.submit(content(1, filename="Встреча 100%.mp3"), RU, "Планёрка", "m")
    complete(tables, "Ёлка  зелёная")
    assert bool(tables.jobs.list(query=query, limit=10).data) is found


def test_list_filters_by_the_status_that_is_shown(tables: Tables) -> None:
    first = tables.jobs.submit(content(1, "a"), RU, "", "m")
    second = tables.jobs.submit(content(1, "b"), RU, "", "m")
    tables.jobs.cancel(first.id)
    cancelled = tables.jobs.list(status=JobStatus.CANCELLED, limit=10).data
    queued = tables.jobs.list(status=JobStatus.QUEUED, limit=10).data
    assert [job.id for job in cancelled] == [first.id]
    assert [job.id for job in queued] == [second.id]


@settings(max_examples=40)
@given(text=st.text(min_size=1, max_size=60))
def test_any_text_is_found_by_itself(tables: Tables, text: str) -> None:
    job = tables.jobs.submit(content(1, filename=text), RU, "", "m")
    if fold(text):
        found = tables.jobs.list(query=text, limit=10).data
        assert job.id in [view.id for view in found]
    tables.jobs.purge(job.id)
