"""One chunk on its way to the disk."""

import fcntl
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stenograf.backend import upload_record as records
from stenograf.backend.filelock import try_lock, unlock
from stenograf.backend.upload_record import CONTENT, Record
from stenograf.contract.errors import (
    BadRequest,
    ChecksumMismatch,
    Locked,
    OffsetMismatch,
    StenografError,
    TooLarge,
)

if TYPE_CHECKING:
    from hashlib import _Hash

_SYNC_EVERY_BYTES = 32 * 1024**2  # bounds what the last fsync has to wait for
_READ_BYTES = 1024**2
_HELD_BYTES = 1024**2  # pieces of a fast client are written together
_HELD_S = 0.02


@dataclass(frozen=True)
class Checksum:
    """What a chunk must hash to: `algorithm` as hashlib names it, raw `digest`."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True)
class Limits:
    """How far an upload may grow; `free_bytes` tells what is left on the disk of a folder."""

    max_bytes: int
    min_free_bytes: int
    free_bytes: Callable[[Path], int]

    def room(self, folder: Path) -> int:
        """Bytes that may still be written to the disk of `folder`."""
        return max(0, self.free_bytes(folder) - self.min_free_bytes)


@dataclass
class Slot:
    """What this process knows of one upload; `lock` guards it and the upload's files."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    writer: "Writer | None" = None
    hashed_bytes: int = 0
    hasher: "_Hash" = field(default_factory=hashlib.sha256)


class Writer:
    """Appends one chunk to one upload: `write` as bytes come, then `commit`, always `close`.

    An event loop may `hold` bytes instead, which costs nothing, and have them written in a thread
    when that says so; bytes that are held count like those that are written.
    Only one exists per upload, in this process by its slot, among processes by a file lock.
    """

    def __init__(
        self,
        folder: Path,
        slot: Slot,
        limits: Limits,
        *,
        offset: int,
        checksum: Checksum | None,
        length: int | None,
        n_bytes: int,
    ) -> None:
        """Begin a chunk of at least `n_bytes` at `offset`. Call with the slot's lock.

        `length` fixes the length of an upload that has none yet. Raises Locked, OffsetMismatch,
        BadRequest, TooLarge, NotFound.
        """
        if slot.writer is not None:
            raise _locked()
        self._folder, self._slot, self._limits = folder, slot, limits
        self._checksum = checksum
        self._chunk_hasher = hashlib.new(checksum.algorithm) if checksum else None
        self._base = self._position = self._synced = offset
        self._hasher = slot.hasher.copy() if slot.hashed_bytes == offset else None
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._failure: StenografError | OSError | None = None
        self._last_byte_at = self._written_at = time.monotonic()
        self.interrupted = self._closed = False
        self.on_interrupt: Callable[[], object] = lambda: None
        self._files = ExitStack()
        with self._files:
            self._descriptor = self._files.enter_context(sole(folder))
            self._length = self._begin(length, n_bytes)
            slot.writer = self
            self._files = self._files.pop_all()

    def _begin(self, length: int | None, n_bytes: int) -> int | None:
        """Check the chunk against what is there and bring the disk in order for it."""
        before = records.load(self._folder)
        good = records.good_bytes(self._folder, before)
        if self._base != good:
            raise OffsetMismatch(
                f"The chunk starts at byte {self._base}, the upload ends at byte {good}.",
                hint="Ask for the offset with HEAD and go on from there.",
                param="Upload-Offset",
            )
        record = before if length is None else _fix_length(before, length, good, self._limits)
        self._check_length(n_bytes, record.length)
        if os.fstat(self._descriptor).st_size > good:
            os.ftruncate(self._descriptor, good)
            os.fsync(self._descriptor)
        record = replace(record, unverified_from=good if self._checksum else None)
        if record != before:
            records.save(self._folder, record)
        return record.length

    def idle_s(self) -> float:
        """Seconds since the last byte came."""
        return time.monotonic() - self._last_byte_at

    def interrupt(self) -> None:
        """Make this writer give up, from any thread."""
        self.interrupted = True
        self.on_interrupt()

    def write(self, data: bytes) -> None:
        """Write bytes after those already written. Raises Locked, TooLarge, OutOfResources."""
        self.hold(data)
        self.write_held()

    def hold(self, data: bytes) -> bool:
        """Take bytes after those already taken; whether it is time for `write_held`.

        Never waits; one thread holds while any others write.
        """
        self._held.append(data)
        self._held_bytes += len(data)
        self._last_byte_at = now = time.monotonic()
        return self._held_bytes >= _HELD_BYTES or now - self._written_at >= _HELD_S

    def write_held(self) -> None:
        """Write the bytes that are held. Raises Locked, TooLarge, OutOfResources."""
        with self._slot.lock:
            if self.interrupted or self._closed:
                raise taken_over()
            self._held_bytes = 0
            self._drain()
            now = time.monotonic()
            self._last_byte_at = self._written_at = now  # a slow disk is not a silent client

    def _drain(self) -> None:
        """Write what is held; bytes behind those that could not be written never count."""
        try:
            if self._failure is not None:
                raise self._failure
            while self._held:
                self._append(self._held.popleft())
        except (StenografError, OSError) as failure:
            self._failure = failure
            self._held.clear()
            raise

    def _append(self, data: bytes) -> None:
        self._check_room(len(data))
        rest = memoryview(data)
        while rest:
            rest = rest[self._write_some(rest) :]
        if self._position - self._synced >= _SYNC_EVERY_BYTES:
            self._sync()

    def _check_room(self, n_bytes: int) -> None:
        self._check_length(n_bytes, self._length)
        if n_bytes > self._limits.room(self._folder):
            raise records.disk_full()

    def _check_length(self, n_bytes: int, length: int | None) -> None:
        most = self._limits.max_bytes if length is None else length
        if self._position + n_bytes > most:
            raise TooLarge(f"More bytes arrive than the {most} that fit into this upload.")

    def _write_some(self, data: memoryview) -> int:
        with records.disk_full_is_typed():
            written = os.pwrite(self._descriptor, data, self._position)
        self._position += written
        for hasher in (self._hasher, self._chunk_hasher):
            if hasher is not None:
                hasher.update(data[:written])
        return written

    def checkpoint(self) -> int:
        """Make durable what came so far; the offset that now counts. Call with the lock."""
        if self._checksum is not None:
            return self._base
        with suppress(StenografError, OSError):  # who sends the bytes is told
            self._drain()
        self._sync()
        return self._position

    def commit(self) -> None:
        """Verify the chunk, make it durable, seal the upload if this was its end.

        Raises ChecksumMismatch; the chunk's bytes are then gone.
        """
        with self._slot.lock:
            if self._closed:
                raise taken_over()
            self._drain()
            if self._chunk_hasher is not None and self._checksum is not None:
                if self._chunk_hasher.digest() != self._checksum.digest:
                    raise ChecksumMismatch(
                        f"The {self._checksum.algorithm} of the chunk is not the announced one.",
                        hint="Send the same chunk again.",
                        param="Upload-Checksum",
                    )
                self._checksum = None
            self.close()

    def close(self) -> None:
        """Keep what counts, drop what does not, let the next writer in. Harmless if repeated."""
        with self._slot.lock:
            if self._closed:
                return
            self._closed = True
            try:
                with suppress(StenografError, OSError):
                    self._drain()
                verified = self._checksum is None
                if verified and self._hasher is not None:
                    self._slot.hasher, self._slot.hashed_bytes = self._hasher, self._position
                if (self._folder / CONTENT).exists():
                    settle(self._folder, self._slot, self._descriptor, verified=verified)
            finally:
                self._slot.writer = None
                self._files.close()

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        self._synced = self._position


@contextmanager
def sole(folder: Path) -> Iterator[int]:
    """The content's descriptor, while no other process writes to it. Raises Locked, NotFound."""
    with records.removed_is_typed():
        descriptor = os.open(folder / CONTENT, os.O_RDWR)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            raise _locked()
        yield descriptor
    finally:
        unlock(descriptor)
        os.close(descriptor)


def settle(folder: Path, slot: Slot, descriptor: int, *, verified: bool = False) -> Record:
    """Make the content durable, bring the record in line with it, seal what is complete.

    Bytes after the record's `unverified_from` are dropped unless they are now `verified`.
    Raises NotFound. Call with the slot's lock and the descriptor of `sole`.
    """
    before = records.load(folder)
    base = None if verified else before.unverified_from
    if base is not None and os.fstat(descriptor).st_size > base:
        os.ftruncate(descriptor, base)
    os.fsync(descriptor)
    record = replace(before, unverified_from=None)
    if record.sha256 is None and os.fstat(descriptor).st_size == record.length:
        record = replace(record, sha256=_sha256(folder / CONTENT, slot, record.length))
    if record != before:
        records.save(folder, record)
    return record


def _sha256(content: Path, slot: Slot, length: int) -> str:
    if slot.hashed_bytes == length:
        return slot.hasher.hexdigest()
    hasher = hashlib.sha256()  # the running hash was lost with the process that kept it
    with content.open("rb") as file:
        while block := file.read(_READ_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _fix_length(record: Record, length: int, offset: int, limits: Limits) -> Record:
    if record.length is not None:
        raise BadRequest("The length of this upload is already known.", param="Upload-Length")
    if length < offset:
        raise BadRequest(f"{offset} bytes are already here.", param="Upload-Length")
    if length > limits.max_bytes:
        raise TooLarge(f"A recording may have at most {limits.max_bytes} bytes.")
    return replace(record, length=length)


def _locked() -> Locked:
    return Locked("Another request is writing to this upload.", retry_after_s=1)


def taken_over() -> Locked:
    """The error of a writer that another request made give up."""
    return Locked("Another request took this upload over.", retry_after_s=1)
