"""What the bot must not forget: messages it has not answered, languages of chats, whose job is
whose. One SQLite file, used from one thread.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chats (chat_id INTEGER PRIMARY KEY, language TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS updates (
    update_id INTEGER PRIMARY KEY,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    job_id TEXT NOT NULL DEFAULT '',
    progress_id INTEGER NOT NULL DEFAULT 0,
    done_at REAL
);
CREATE INDEX IF NOT EXISTS updates_waiting ON updates (update_id) WHERE done_at IS NULL;
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT NOT NULL, chat_id INTEGER NOT NULL, PRIMARY KEY (job_id, chat_id)
) WITHOUT ROWID;
"""
_KEPT_S = 24 * 3600.0  # Telegram sends nothing again that is older


@dataclass(frozen=True)
class Stored:
    """A message that waits, and how far its work got before the bot was stopped, if it was."""

    update_id: int
    body: str
    attempts: int
    job_id: str
    progress_id: int


class Notebook:
    """The file; close it at the end."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._db.close()

    def receive(self, update_id: int, body: str) -> bool:
        """Keep a message before Telegram is told that it arrived; False if it is known."""
        inserted = self._db.execute(
            "INSERT OR IGNORE INTO updates (update_id, body) VALUES (?, ?)", (update_id, body)
        )
        return inserted.rowcount == 1

    def waiting(self, limit: int, without: Collection[int]) -> list[Stored]:
        """The oldest messages that are not answered, at most `limit`, and none of `without`."""
        marks = ",".join("?" * len(without))
        rows = self._db.execute(
            "SELECT update_id, body, attempts, job_id, progress_id FROM updates "
            f"WHERE done_at IS NULL AND update_id NOT IN ({marks}) ORDER BY update_id LIMIT ?",
            (*without, limit),
        )
        return [Stored(*row) for row in rows]

    def begin(self, update_id: int) -> None:
        """Count an attempt."""
        self._set(update_id, "attempts = attempts + 1")

    def interrupt(self, update_id: int) -> None:
        """The attempt was ended by a shutdown and does not count."""
        self._set(update_id, "attempts = attempts - 1")

    def finish(self, update_id: int) -> None:
        """Answered. Its text is forgotten, its number for a day not."""
        now = self._clock()
        self._set(update_id, "done_at = ?, body = ''", now)
        self._db.execute(
            "DELETE FROM updates WHERE done_at < ? AND update_id < ?", (now - _KEPT_S, update_id)
        )

    def note_job(self, update_id: int, job_id: str, chat_id: int) -> None:
        """The message's recording is with the backend as `job_id`."""
        self._set(update_id, "job_id = ?", job_id)
        self._db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?)", (job_id, chat_id))

    def note_progress(self, update_id: int, message_id: int) -> None:
        """The chat shows the progress in `message_id`, 0 if nowhere."""
        self._set(update_id, "progress_id = ?", message_id)

    def has_job(self, job_id: str, chat_id: int) -> bool:
        """Whether the job came from this chat."""
        found = self._db.execute(
            "SELECT 1 FROM jobs WHERE job_id = ? AND chat_id = ?", (job_id, chat_id)
        )
        return found.fetchone() is not None

    def language(self, chat_id: int) -> str | None:
        """What the chat chose, None if nothing."""
        row = self._db.execute(
            "SELECT language FROM chats WHERE chat_id = ?", (chat_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def choose_language(self, chat_id: int, language: str) -> None:
        """Remember the language spoken in a chat."""
        self._db.execute("INSERT OR REPLACE INTO chats VALUES (?, ?)", (chat_id, language))

    def _set(self, update_id: int, change: str, *values: object) -> None:
        self._db.execute(f"UPDATE updates SET {change} WHERE update_id = ?", (*values, update_id))
