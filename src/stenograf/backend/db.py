"""The database: its tables, one engine, explicit read and write transactions.

Nothing here is peculiar to one SQL dialect but `_tune_sqlite`.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    Update,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from stenograf.contract.errors import StenografError
from stenograf.contract.jobs import JobStatus, Stage
from stenograf.contract.text import StageState

_BUSY_TIMEOUT_MS = 15_000


def changed(session: Session, statement: Update) -> int:
    """How many rows a statement changes; objects in the session are not told."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]


class Leased:
    """Columns of a row that workers claim for a while, try again, and give up. Unix seconds."""

    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None] = mapped_column(Text)


class Base(DeclarativeBase):
    """Root of the mapped classes."""


class RecognitionRow(Leased, Base):
    """One computation: these bytes, these options, this model. Times are Unix seconds.

    Long columns are loaded only where they are looked at.
    """

    __tablename__ = "recognitions"
    __table_args__ = (Index("ix_recognitions_due", "status", "not_before", "queued_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    content_sha256: Mapped[str] = mapped_column(String(64))
    options: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(300), default="")

    status: Mapped[str] = mapped_column(String(16), default=JobStatus.QUEUED)
    stage: Mapped[str] = mapped_column(String(16), default=Stage.WAITING)

    queued_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    recognizing_at: Mapped[float | None]
    recognizing_from: Mapped[int] = mapped_column(BigInteger, default=0)

    duration: Mapped[int | None] = mapped_column(BigInteger)
    speech: Mapped[int | None] = mapped_column(BigInteger)
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    windows_total: Mapped[int | None] = mapped_column(Integer)
    windows_done: Mapped[int] = mapped_column(Integer, default=0)
    reset_seq: Mapped[int] = mapped_column(Integer, default=0)
    """Number of the event that last made all windows void; those since then have higher ones."""

    sound: Mapped[str | None] = mapped_column(Text, deferred=True)
    plan: Mapped[str | None] = mapped_column(Text, deferred=True)
    overview: Mapped[str | None] = mapped_column(Text, deferred=True)
    transcript: Mapped[str | None] = mapped_column(Text, deferred=True)
    preview: Mapped[str] = mapped_column(String(300), default="")
    search_text: Mapped[str] = mapped_column(Text, default="", deferred=True)


class WindowRow(Base):
    """One recognized window; `done_seq` numbers them in the order they finished, from 1.

    Who watches is told `reset_seq` of the recognition more, a number that is never given twice.
    """

    __tablename__ = "windows"

    recognition_id: Mapped[str] = mapped_column(
        ForeignKey("recognitions.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column("window_index", Integer, primary_key=True)
    done_seq: Mapped[int] = mapped_column(Integer)
    result: Mapped[str] = mapped_column(Text)


class JobRow(Base):
    """One person's request; it points at the computation that answers it."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_newest", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    recognition_id: Mapped[str] = mapped_column(ForeignKey("recognitions.id"), index=True)
    upload_id: Mapped[str] = mapped_column(String(64), index=True)
    title: Mapped[str] = mapped_column(String(300))
    filename: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(String(200), default="")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    options: Mapped[str] = mapped_column(Text)
    search_name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]
    cancelled_at: Mapped[float | None]

    text: Mapped["TextRow | None"] = relationship(
        primaryjoin="and_(TextRow.job_id == JobRow.id, TextRow.with_job)",
        lazy="joined",
        viewonly=True,
    )
    """The text work that was asked for together with the job."""


class TextRow(Leased, Base):
    """One task of a language model on a job's transcript; `state` is a StageState."""

    __tablename__ = "texts"
    __table_args__ = (Index("ix_texts_due", "state", "not_before", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    with_job: Mapped[bool] = mapped_column(default=False)
    task: Mapped[str] = mapped_column(String(16))
    instruction: Mapped[str] = mapped_column(Text)
    strict: Mapped[bool] = mapped_column(default=False)
    key: Mapped[str] = mapped_column(String(64), default="", index=True)

    state: Mapped[str] = mapped_column(String(16), default=StageState.WAITING)

    created_at: Mapped[float]
    finished_at: Mapped[float | None]
    pieces_done: Mapped[int] = mapped_column(Integer, default=0)
    pieces_total: Mapped[int | None] = mapped_column(Integer)
    model: Mapped[str] = mapped_column(String(300), default="")
    warnings: Mapped[str] = mapped_column(Text, default="[]")
    text: Mapped[str] = mapped_column(Text, default="", deferred=True)
    passages: Mapped[str] = mapped_column(Text, default="[]", deferred=True)


class ApiKeyRow(Base):
    """One key: `id` is its visible part, `digest` the SHA-256 of the whole. Times: Unix seconds."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class DatabaseUnusable(StenografError):
    """DATABASE_URL names no database that this version can work with."""


class Database:
    """Transactions on one SQLAlchemy URL; SQLite in WAL mode is the default house."""

    def __init__(self, url: str) -> None:
        """Connect later, at the first transaction. Raises DatabaseUnusable for a wrong URL."""
        try:
            self._engine = _open(url)
        except (ArgumentError, ImportError, ValueError) as error:
            raise DatabaseUnusable(
                f"DATABASE_URL cannot be used: {error}.",
                hint="Leave it empty for SQLite, or install the driver that it names.",
            ) from error

    @property
    def is_sqlite(self) -> bool:
        """Whether one machine's file holds everything."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent snapshot; nothing is written."""
        with self._engine.connect() as connection, Session(connection) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that holds the write lock from its first statement; all or nothing."""
        options = {"begin_immediate": True}
        with (
            self._engine.connect().execution_options(**options) as connection,
            Session(connection) as session,
            session.begin(),
        ):
            yield session

    def ping(self) -> None:
        """Run the cheapest statement. Raises sqlalchemy.exc.SQLAlchemyError when it cannot."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def migrate(self, lock: Path) -> None:
        """Bring the schema up to date; the file `lock` keeps two starting services apart.

        Raises DatabaseUnusable.
        """
        lock.parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", "stenograf.backend:migrations")
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                with self._engine.connect().execution_options(begin_immediate=True) as connection:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            except DBAPIError as error:
                raise DatabaseUnusable(f"The database cannot be opened: {error.orig}.") from error
            except CommandError as error:
                raise DatabaseUnusable(
                    f"The database is of another version of stenograf: {error}."
                ) from error

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()


def _open(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _tune_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction starts are switched off: `_begin_sqlite` says when and which.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote between;
    # taking the write lock at the start waits for `busy_timeout` instead.
    immediate = connection.get_execution_options().get("begin_immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
