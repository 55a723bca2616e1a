"""Windows at the model whose job ends: their connections, and who has them next."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from stenograf.audio.spool import Spool
from stenograf.backend.connection import Connection
from stenograf.backend.engine import EngineClient
from stenograf.backend.feed import Feed
from stenograf.backend.ledger import LostLease
from stenograf.backend.notebook import Notebook
from stenograf.backend.recognize import Recognizer
from stenograf.backend.records import Heard, PlannedWindow
from stenograf.backend.stop import Reason, Stop, Stopped
from stenograf.contract.options import TranscribeOptions

from .conftest import Tables, content
from .desk import until

N_WINDOWS = 3
WINDOW_SAMPLES = 16_000


class Session(Connection):
    """Never connects; when it is aborted, every window that can comes back first."""

    def __init__(self, model: "Model") -> None:
        super().__init__(urlsplit("http://127.0.0.1:1"), "")
        self.model = model
        self.in_pool = threading.Event()

    def abort(self) -> None:
        self.model.strangers += self.in_pool.is_set()
        super().abort()
        self.model.answers.set()
        for session in self.model.sessions:
            session.in_pool.wait(0.2)


class Model(EngineClient):
    """Keeps windows until it `answers`; all but one of them until it `answers_most`."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.sessions: list[Session] = []
        self.asked = 0
        self.strangers = 0  # sessions that were aborted after their window had come back
        self.answers, self.answers_most = threading.Event(), threading.Event()

    @contextmanager
    def session(self) -> Iterator[Connection]:
        session = Session(self)
        self.sessions.append(session)
        yield session
        session.in_pool.set()

    def transcribe(self, *_: Any, **__: Any) -> Heard:
        self.asked += 1
        most = self.asked < N_WINDOWS
        until(lambda: self.answers.is_set() or (most and self.answers_most.is_set()))
        return Heard(segments=(), language="ru")


@pytest.fixture
def notebook(tables: Tables) -> Notebook:
    tables.jobs.submit(content(), TranscribeOptions(), "", "m")
    claim = tables.ledger.claim_next()
    assert claim is not None
    return Notebook(tables.ledger, claim, lambda _: None)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    path = tmp_path / "sound.f32"
    path.write_bytes(np.zeros(N_WINDOWS * WINDOW_SAMPLES, np.float32).tobytes())
    with Spool(path) as opened:
        yield opened


@pytest.fixture
def feed() -> Feed:
    every = range(0, N_WINDOWS * WINDOW_SAMPLES, WINDOW_SAMPLES)
    full = Feed()
    full.put((i, PlannedWindow(start=s, end=s + WINDOW_SAMPLES)) for i, s in enumerate(every))
    full.close()
    return full


def test_a_connection_that_is_somebody_elses_by_now_is_left_alone(
    notebook: Notebook, spool: Spool, feed: Feed
) -> None:
    model, stop = Model(), Stop()
    recognizer = Recognizer(model, "m", N_WINDOWS, spool, 1.0, notebook, stop)

    def cancel() -> None:
        until(lambda: model.asked == N_WINDOWS)
        stop.set(Reason.CANCELLED)

    threading.Thread(target=cancel).start()
    with pytest.raises(Stopped):
        list(recognizer.run(feed))
    assert model.strangers == 0


def test_who_lost_the_lease_does_not_wait_for_the_model(
    tables: Tables, notebook: Notebook, spool: Spool, feed: Feed
) -> None:
    model = Model()
    recognizer = Recognizer(model, "m", N_WINDOWS, spool, 1.0, notebook, Stop())

    def lose() -> None:
        until(lambda: model.asked == N_WINDOWS)
        tables.clock.advance(60)
        tables.recovery.sweep()
        model.answers_most.set()

    threading.Thread(target=lose).start()
    with pytest.raises(LostLease):
        list(recognizer.run(feed))
    assert model.answers.is_set(), "the window that was still there was aborted"
