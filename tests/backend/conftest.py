"""What the backend's tests share: a database on disk and a clock that only moves when told."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stenograf.backend.db import Database
from stenograf.backend.jobs import Content, JobStore
from stenograf.backend.ledger import Ledger
from stenograf.backend.recovery import Recovery

from .desk import Desk
from .model_server import ModelServer

START = 1_700_000_000.0


@dataclass
class Clock:
    """Unix seconds."""

    now: float = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Tables:
    """The job table from both sides."""

    database: Database
    clock: Clock
    jobs: JobStore
    ledger: Ledger
    recovery: Recovery

    def another_process(self) -> Ledger:
        """A worker process with its own leases."""
        return Ledger(self.database, boot_id="other", lease_s=30, clock=self.clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tables(tmp_path: Path, clock: Clock) -> Iterator[Tables]:
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    database.migrate(tmp_path / "migrate.lock")
    jobs = JobStore(database, max_queued=3, clock=clock)
    ledger = Ledger(database, boot_id="boot", lease_s=30, clock=clock)
    yield Tables(database, clock, jobs, ledger, Recovery(database, boot_id="boot", clock=clock))
    database.close()


def content(n: int = 1, upload_id: str | None = None, filename: str = "запись.mp3") -> Content:
    """The n-th recording."""
    return Content(
        upload_id=upload_id or f"upload{n}",
        sha256=f"{n:064x}",
        size_bytes=1000 + n,
        filename=filename,
        media_type="audio/mpeg",
    )


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path, model: ModelServer) -> Iterator[Desk]:
    with Desk(tmp_path, model.url) as open_desk:
        yield open_desk


@pytest.fixture(scope="session")
def steady_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One backend for all tests that only ask; its model, `model-a`, says `раз два` at once."""
    folder = tmp_path_factory.mktemp("steady")
    with ModelServer() as model, Desk(folder, model.url) as open_desk:
        yield open_desk
