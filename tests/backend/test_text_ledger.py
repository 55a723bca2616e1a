"""Who may work on a text, for how long, and what becomes of work that was left behind."""

import pytest

from stenograf.backend.ledger import LostLease
from stenograf.backend.textledger import TextClaim, TextLedger
from stenograf.backend.textstore import TextStore
from stenograf.contract.errors import (
    NotFinished,
    StenografError,
    TextServiceFailed,
    TextServiceTimeout,
    TextServiceUnavailable,
)
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.text import StageState, TextRequest, TextResult, TextTask, TextView
from stenograf.contract.transcript import Segment, Transcript

from .conftest import Tables, content

SUMMARY = TextRequest(task=TextTask.SUMMARY)
RESULT = TextResult(text="кратко", task=TextTask.SUMMARY, model="m")
TRANSCRIPT = Transcript(segments=(Segment(start=0, end=16_000, text=" раз два"),))


class Texts:
    """The table from both sides, with one finished job."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.clock = tables.clock
        self.store = TextStore(tables.database, max_waiting=3, clock=tables.clock)
        self.ledger = self.process("boot")
        self.job_id = self.job()
        self.finish_recognition()

    def process(self, boot_id: str) -> TextLedger:
        """A process that does text work."""
        return TextLedger(self.tables.database, boot_id=boot_id, lease_s=30, clock=self.clock)

    def job(self, text: TextRequest | None = None) -> str:
        """A queued job."""
        return self.tables.jobs.submit(content(), TranscribeOptions(), "", "m", text).id

    def finish_recognition(self) -> None:
        """The transcript of the next recognition is there."""
        claim = self.tables.ledger.claim_next()
        assert claim is not None
        self.tables.ledger.finish(claim, TRANSCRIPT)

    def claimed(self) -> TextClaim:
        """A request on its way to the model."""
        self.store.ask(self.job_id, SUMMARY)
        claim = self.ledger.claim_next()
        assert claim is not None
        return claim

    def view(self, claim: TextClaim) -> TextView:
        """What a client sees of it."""
        return self.store.get(claim.job_id, claim.id)


@pytest.fixture
def texts(tables: Tables) -> Texts:
    return Texts(tables)


def test_one_of_many_gets_the_work_and_its_result_is_stored(texts: Texts) -> None:
    claim = texts.claimed()
    assert texts.process("other").claim_next() is None
    assert claim.transcript() == TRANSCRIPT
    texts.ledger.progress(claim, "кра", 1, 2)
    assert (texts.view(claim).text, texts.view(claim).pieces_done) == ("кра", 1)
    texts.ledger.finish(claim, RESULT, 2)
    view = texts.view(claim)
    assert (view.state, view.text, view.model) == (StageState.OK, "кратко", "m")
    assert texts.store.ask(texts.job_id, SUMMARY).id == view.id
    assert texts.ledger.claim_next() is None


def test_a_lost_lease_goes_to_another_and_the_loser_writes_nothing(texts: Texts) -> None:
    lost = texts.claimed()
    texts.clock.advance(29)
    assert texts.ledger.renew(lost)
    texts.clock.advance(29)
    assert texts.ledger.take_back() == 0
    texts.clock.advance(2)
    assert texts.ledger.take_back() == 1
    other = texts.process("other")
    claim = other.claim_next()
    assert claim is not None
    assert not texts.ledger.renew(lost)
    for write in (
        lambda: texts.ledger.progress(lost, "чужое", 1, 1),
        lambda: texts.ledger.finish(lost, RESULT, 1),
        lambda: texts.ledger.fail(lost, TextServiceFailed("no")),
        lambda: texts.ledger.known(lost, "key"),
    ):
        with pytest.raises(LostLease):
            write()
    assert texts.view(claim).text == ""
    other.finish(claim, RESULT, 1)
    assert texts.view(claim).state is StageState.OK


def test_work_that_kills_its_process_is_given_up(texts: Texts) -> None:
    texts.store.ask(texts.job_id, SUMMARY)
    for boot in range(6):
        dying = texts.process(f"boot{boot}")
        claim = dying.claim_next()
        assert claim is not None
        assert dying.take_back(all_of_others=True) == 0
        assert texts.process("next").take_back(all_of_others=True) == 1
    view = texts.view(claim)
    assert (view.state, view.error.code if view.error else "") == (StageState.FAILED, "internal")
    assert texts.ledger.claim_next() is None


@pytest.mark.parametrize(
    ("error", "waits_s"),
    [
        (TextServiceUnavailable("busy"), [300, 300]),
        (TextServiceUnavailable("busy", retry_after_s=900), [900, 900]),
        (TextServiceUnavailable("busy", retry_after_s=1e9), [3600, 3600]),
        (TextServiceTimeout("slow"), [30]),
        (TextServiceFailed("refused"), []),
        (StenografError("broken"), []),
    ],
    ids=str,
)
def test_the_class_of_a_failure_decides_about_the_next_attempt(
    texts: Texts, error: StenografError, waits_s: list[float]
) -> None:
    claim = texts.claimed()
    for wait_s in waits_s:
        assert texts.ledger.fail(claim, error) is False
        view = texts.view(claim)
        assert view.state is StageState.WAITING
        assert view.retry_at is not None
        assert view.retry_at.timestamp() == texts.clock.now + wait_s
        texts.clock.advance(wait_s - 1)
        assert texts.ledger.claim_next() is None
        texts.clock.advance(1)
        again = texts.ledger.claim_next()
        assert again is not None
        claim = again
    assert texts.ledger.fail(claim, error) is True
    view = texts.view(claim)
    assert view.state is StageState.FAILED
    assert view.error is not None
    assert view.error.message == error.message


def test_text_work_waits_for_its_transcript(texts: Texts) -> None:
    options = TranscribeOptions(model="another")
    view = texts.tables.jobs.submit(content(2), options, "", "another", SUMMARY)
    assert texts.ledger.claim_next() is None
    with pytest.raises(NotFinished):
        texts.store.ask(view.id, SUMMARY)
    texts.finish_recognition()
    claim = texts.ledger.claim_next()
    assert claim is not None
    assert claim.job_id == view.id


def test_a_result_of_the_same_question_is_taken_over(texts: Texts) -> None:
    first = texts.claimed()
    assert texts.ledger.known(first, "key") is False
    second_job = texts.job(SUMMARY)
    second = texts.ledger.claim_next()
    assert second is not None
    assert second.job_id == second_job
    assert texts.ledger.known(second, "key") is True
    assert texts.view(second).state is StageState.WAITING
    texts.ledger.finish(first, RESULT, 1)
    texts.clock.advance(1)
    second = texts.ledger.claim_next()
    assert second is not None
    assert texts.ledger.known(second, "key") is True
    assert (texts.view(second).state, texts.view(second).text) == (StageState.OK, "кратко")


def test_removing_a_job_removes_its_text_work(texts: Texts) -> None:
    claim = texts.claimed()
    texts.tables.jobs.purge(texts.job_id)
    assert not texts.ledger.renew(claim)
    with pytest.raises(LostLease):
        texts.ledger.finish(claim, RESULT, 1)
    assert texts.ledger.claim_next() is None
