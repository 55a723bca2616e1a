"""Schema and transactions."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from stenograf.backend.db import Base, Database, RecognitionRow

from ..waiting import all_at_once


def row(number: int) -> RecognitionRow:
    return RecognitionRow(
        id=f"{number}", key=f"{number}", content_sha256="", options="{}", queued_at=0.0
    )


def test_migrations_make_the_mapped_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    database = Database(url)
    database.migrate(tmp_path / "lock")
    database.migrate(tmp_path / "lock")
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_processes_that_start_together_migrate_one_after_the_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stenograf.backend.db import Database\n"
        "Database('sqlite:///' + sys.argv[1] + '/x.db').migrate(Path(sys.argv[1]) / 'lock')"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        _, complaints = process.communicate(timeout=150)
        assert process.returncode == 0, complaints


def test_sqlite_is_tuned_for_safety(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.read() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 15_000,
    }


def test_writers_wait_for_one_another(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate(tmp_path / "lock")
    with database.write() as session:
        session.add(row(0))

    def count_up(_: int) -> None:
        for _ in range(20):
            with database.write() as session:
                found = session.get_one(RecognitionRow, "0")
                found.done = found.done + 1

    all_at_once(4, count_up)
    with database.read() as session:
        assert session.get_one(RecognitionRow, "0").done == 80
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate(tmp_path / "lock")
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(row(1))
        session.flush()
        raise RuntimeError
    with database.read() as session:
        assert session.get(RecognitionRow, "1") is None
    database.close()
