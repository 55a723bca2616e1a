"""API keys: made, listed and revoked in the database, recognized in memory.

A key is `sg_<id>_<secret>`: 32 visible bits that name it, 256 random bits that prove it. Only the
SHA-256 of the whole is kept. A slow password hash would add nothing: it makes guessing a weak
secret expensive, and 256 random bits cannot be guessed at any speed.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from stenograf.backend.db import ApiKeyRow, Database
from stenograf.contract.errors import BadOptions, NotFound, StenografError

MAX_KEY_BYTES = 512
_MIN_STATIC_CHARACTERS = 16
_MAX_LABEL_CHARACTERS = 200
_USE_WRITTEN_EVERY_S = 60.0


class WeakKey(StenografError):
    """A key from the environment is too short to be one."""


@dataclass(frozen=True)
class ApiKey:
    """What may be shown of a key; times are Unix seconds."""

    id: str
    label: str
    created_at: float
    last_used_at: float | None
    revoked_at: float | None


class ApiKeyStore:
    """The table of keys."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(self, label: str) -> tuple[str, ApiKey]:
        """A new key: its text, which nobody can see again, and its row. Raises BadOptions."""
        label = "".join(c if c.isprintable() else " " for c in label).strip()
        if not label or len(label) > _MAX_LABEL_CHARACTERS:
            raise BadOptions(f"A label has 1 to {_MAX_LABEL_CHARACTERS} characters.", param="label")
        key_id = secrets.token_hex(4)
        text = f"sg_{key_id}_{secrets.token_urlsafe(32)}"
        row = ApiKeyRow(
            id=key_id, digest=_digest(text.encode()).hex(), label=label, created_at=self._clock()
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            return text, _shown(row)

    def list(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id))
            return [_shown(row) for row in rows]

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key worthless, for good. Raises NotFound."""
        with self._database.write() as session:
            row = session.get(ApiKeyRow, key_id)
            if row is None:
                raise NotFound(f"There is no key {key_id[:40]!r}.")
            row.revoked_at = row.revoked_at or self._clock()
            return _shown(row)

    def digests(self) -> dict[str, bytes | None]:
        """SHA-256 of every key by its id; None for a revoked one."""
        with self._database.read() as session:
            rows = session.execute(
                select(ApiKeyRow.id, ApiKeyRow.digest, ApiKeyRow.revoked_at)
            ).all()
        return {
            key_id: None if revoked_at is not None else bytes.fromhex(digest)
            for key_id, digest, revoked_at in rows
        }

    def note_use(self, used: dict[str, float]) -> None:
        """Remember when keys were last used."""
        with self._database.write() as session:
            for key_id, at in used.items():
                session.execute(
                    update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=at)
                )


class KeyRing:
    """The keys that count now, in memory: no request waits for the database.

    `sync` is called every few seconds, so a new or revoked key counts that much later. Safe for
    threads.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        from_environment: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the store's keys and those given; raises WeakKey for one that is too short."""
        for text in from_environment:
            if len(text) < _MIN_STATIC_CHARACTERS or len(text.encode()) > MAX_KEY_BYTES:
                raise WeakKey(
                    f"A key in BACKEND_API_KEYS has less than {_MIN_STATIC_CHARACTERS} characters "
                    f"or more than {MAX_KEY_BYTES} bytes.",
                    hint="Make a good one: openssl rand -hex 32.",
                )
        self._store = store
        self._clock = clock
        digests = [_digest(text.encode()) for text in from_environment]
        self._fixed = {f"env-{digest.hex()[:8]}": digest for digest in digests}
        self._stored: dict[str, bytes | None] = {}
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def in_use(self) -> bool:
        """Whether keys are asked for: one was ever made, even if all are revoked now."""
        return bool(self._fixed or self._stored)

    def knows(self, key_id: str) -> bool:
        """Whether the key of this id counts now."""
        return key_id in self._fixed or self._stored.get(key_id) is not None

    def find(self, presented: bytes) -> str | None:
        """The id of the key that was presented, None if it is none of ours."""
        if not presented or len(presented) > MAX_KEY_BYTES:
            return None
        digest = _digest(presented)
        found = None
        for key_id, known in self._fixed.items():
            if hmac.compare_digest(known, digest):
                found = key_id
        named = presented[3:11].decode("ascii", "replace")
        known_digest = self._stored.get(named) or bytes(len(digest))
        if hmac.compare_digest(known_digest, digest):
            found = named
            with self._lock:
                self._used[named] = self._clock()
        return found

    def sync(self, *, closing: bool = False) -> None:
        """Read the keys again; write, not more often than once a minute, when they were used."""
        self._stored = self._store.digests()
        with self._lock:
            due = {
                key_id: at
                for key_id, at in self._used.items()
                if closing or at >= self._written.get(key_id, 0.0) + _USE_WRITTEN_EVERY_S
            }
            for key_id in due:
                del self._used[key_id]
        if due:
            self._store.note_use(due)
            self._written.update(due)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _shown(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        label=row.label,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
