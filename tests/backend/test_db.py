"""Schema and transactions."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from stenograf.backend.db import Base, Database, RecognitionRow
from stenograf.backend.jobs import JobStore
from stenograf.backend.records import Plan, PlannedWindow

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


def test_windows_of_an_older_version_keep_their_numbers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrated_to("0003", url)
    engine = create_engine(url)
    columns = (
        "id, key, content_sha256, options, model, status, stage, lease_until, not_before, failures,"
        " crashes, queued_at, recognizing_from, done, windows_done, preview, search_text, plan"
    )
    plan = Plan(spans=(), windows=(PlannedWindow(start=0, end=9),)).model_dump_json()
    with engine.begin() as connection:
        values = "'r', 'k', 'c', '{}', 'm', 'running', 'waiting', 0, 0, 0, 0, 0, 0, 9, 1, '', ''"
        connection.exec_driver_sql(
            f"INSERT INTO recognitions ({columns}) VALUES ({values}, '{plan}')"
        )
        heard = '{"segments": [], "language": "ru"}'
        connection.exec_driver_sql(f"INSERT INTO windows VALUES ('r', 0, 1, '{heard}')")
        connection.exec_driver_sql(
            "INSERT INTO jobs VALUES ('j', 'r', 'u', '', '', '', 0, '{}', '', 0, NULL)"
        )
    engine.dispose()
    database = Database(url)
    database.migrate(tmp_path / "lock")
    jobs = JobStore(database, max_queued=1)
    assert [window.seq for window in jobs.snapshot("j", 0).windows] == [1]
    seen = jobs.snapshot("j", 1)
    assert (seen.windows, seen.reset_seq, seen.last_seq) == ((), None, 1)
    database.close()


def migrated_to(revision: str, url: str) -> None:
    """An empty database as an older version left it."""
    config = Config()
    config.set_main_option("script_location", "stenograf.backend:migrations")
    engine = create_engine(url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
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
