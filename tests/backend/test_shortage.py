"""A server that is short of disk or whose database is away for a while."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from stenograf.backend.exhaustion import shortage
from stenograf.contract.errors import OutOfResources

from .desk import Desk, until
from .model_server import ModelServer, Reply, heard
from .sounds import noise, wav


@contextmanager
def no_windows_table(desk: Desk) -> Iterator[None]:
    """What is written of windows fails as it does where the database cannot be had."""
    path = desk.house.settings.data_dir / "stenograf.db"
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA legacy_alter_table=ON")
        connection.execute("ALTER TABLE windows RENAME TO away")
        yield
        connection.execute("ALTER TABLE away RENAME TO windows")


def test_a_job_outlives_a_database_that_is_away(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.1)
    job_id = desk.submit(wav(noise(4)))["id"]
    until(lambda: model.asked)
    with no_windows_table(desk):
        view = until(lambda: (job := desk.job(job_id))["error"] and job)
        assert view["status"] == "queued", "it is tried again by itself"
        assert view["error"]["message"] == "The database does not answer."
    assert desk.wait(job_id)["status"] == "completed"


def test_a_full_disk_is_told_as_such(desk: Desk) -> None:
    full = desk.house.settings.data_dir / "chunks" / f"{hashlib.sha256(b'u').hexdigest()}.f32"
    full.touch()
    os.utime(full, (0, 0))
    until(lambda: not full.exists())  # from here on expired chunks stay for a minute
    full.symlink_to("/dev/full")
    chunk = {"user_id": "u", "chunk": [0.5] * 16_000, "sending": True}
    answer = desk.http.post("/get_answer/", json=chunk)
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "out_of_resources"


def test_a_full_database_is_a_full_disk(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'small.db'}")
    with engine.connect() as connection, pytest.raises(OperationalError) as full:
        connection.execute(text("PRAGMA max_page_count=3"))
        connection.execute(text("CREATE TABLE t (x)"))
        connection.execute(text("INSERT INTO t VALUES (zeroblob(1000000))"))
    engine.dispose()
    assert isinstance(shortage(full.value), OutOfResources)


def test_other_errors_are_no_shortage() -> None:
    assert shortage(PermissionError(errno.EACCES, "no")) is None
    assert shortage(ValueError()) is None
