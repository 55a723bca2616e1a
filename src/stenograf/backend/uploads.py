"""Files on their way in: created, appended to in chunks, sealed, claimed by jobs, expired.

One folder per upload (`upload_record`), one writer per upload (`upload_writer`). Every offset and
hash that is answered is on the disk; a process killed at any moment goes on where it was.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from stenograf.backend import upload_record as records
from stenograf.backend.upload_record import CONTENT, Record, Upload
from stenograf.backend.upload_writer import Checksum, Limits, Slot, Writer, settle, sole, taken_over
from stenograf.contract.errors import Conflict, Gone, Locked, NotFinished, NotFound, TooLarge

__all__ = ["Checksum", "Upload", "UploadStore"]

_POLL_S = 0.05
_THREADS = 8  # a stalled disk must not take the service's other threads along

P = ParamSpec("P")
T = TypeVar("T")


class UploadStore:
    """Uploads under one folder.

    Sync methods do short disk work: from an event loop call them in a thread; `receive` is for
    the loop itself. All raise NotFound for an unknown id and Gone for an expired upload.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_bytes: int,
        min_free_bytes: int = 0,
        ttl_s: float = 24 * 3600,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        stall_s: float = 1.0,
        patience_s: float = 2.5,
    ) -> None:
        """Keep uploads in `root`, which is made if missing.

        `ttl_s` counts from the last byte that came. A second writer waits `patience_s` for the
        first; one from which no byte came for `stall_s` has to give up.
        """
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._limits = Limits(max_bytes, min_free_bytes, free_bytes)
        self._ttl_s, self._clock = ttl_s, clock
        self._stall_s, self._patience_s = stall_s, patience_s
        self._slots: dict[str, Slot] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="uploads")

    def close(self) -> None:
        """Let the store's threads end."""
        self._threads.shutdown()

    def capacity(self) -> int:
        """The longest upload that would be accepted now, bytes."""
        return min(self._limits.max_bytes, self._limits.room(self._root))

    def create(self, length: int | None, metadata: Mapping[str, str] | None = None) -> Upload:
        """A new, empty upload of `length` bytes, None if that is not known yet.

        Raises TooLarge when the setting or the disk does not allow it.
        """
        self._check_length(length or 0)
        upload_id = secrets.token_hex(16)
        folder = self._root / upload_id
        with records.disk_full_is_typed():
            folder.mkdir()
            (folder / CONTENT).touch()
            self._touch(folder)
            records.save(folder, Record(length, dict(metadata or {}), self._clock()))
            records.sync_folder(self._root)
        return self.info(upload_id)

    def info(self, upload_id: str) -> Upload:
        """The upload as it stands; bytes that came so far are made durable."""
        folder, slot = self._find(upload_id)
        with slot.lock:
            record = self._load(folder, slot)
            if slot.writer is not None:
                return self._view(folder, record, slot.writer.checkpoint())
            if record.sha256 is None:
                with suppress(Locked), sole(folder) as content:  # else another process does it
                    record = settle(folder, slot, content)
            return self._view(folder, record, records.good_bytes(folder, record))

    def append(
        self,
        upload_id: str,
        offset: int,
        pieces: Iterable[bytes],
        *,
        checksum: Checksum | None = None,
        length: int | None = None,
        n_bytes: int = 0,
    ) -> Upload:
        """Add one tus chunk at `offset`, given as pieces of bytes; the last byte seals.

        `length` fixes the length of an upload created without. With `checksum` the chunk counts
        as a whole or not at all. A chunk announced as `n_bytes` that cannot fit is refused before
        its first byte. Raises OffsetMismatch, Locked, TooLarge, OutOfResources, ChecksumMismatch,
        BadRequest; without a checksum, what came before the error is kept.
        """
        writer = self._open(upload_id, offset, _Chunk(checksum, length, n_bytes))
        try:
            for piece in pieces:
                writer.write(piece)
            writer.commit()
        finally:
            self._end(upload_id, writer)
        return self.info(upload_id)

    async def receive(
        self,
        upload_id: str,
        offset: int,
        pieces: AsyncIterable[bytes],
        *,
        checksum: Checksum | None = None,
        length: int | None = None,
        n_bytes: int = 0,
    ) -> Upload:
        """`append` for the event loop; waits for another writer, or ends it if it is stalled."""
        writer = await self._take(upload_id, offset, _Chunk(checksum, length, n_bytes))
        try:
            await self._pump(writer, pieces)
            await self._in_thread(writer.commit)
        finally:
            # shielded: a cancelled request must still let the next writer in
            await asyncio.shield(self._in_thread(self._end, upload_id, writer))
        return await self._in_thread(self.info, upload_id)

    def path(self, upload_id: str) -> Path:
        """Where the content of a sealed upload lies. Raises NotFinished before that."""
        upload = self.info(upload_id)
        if not upload.sealed:
            raise NotFinished("The upload is not complete yet.", param="upload_id")
        return self._root / upload_id / CONTENT

    def claim(self, upload_id: str) -> Upload:
        """Make a sealed upload a job's own: it expires no more. Harmless if repeated.

        Raises NotFinished while bytes are missing.
        """
        return self._set_claimed(upload_id, True)

    def release(self, upload_id: str) -> Upload:
        """Undo `claim`: the upload lives for another `ttl_s`."""
        return self._set_claimed(upload_id, False)

    def claimed(self) -> set[str]:
        """Ids of every claimed upload, for comparing with the jobs there are."""
        return {
            folder.name
            for folder in records.folders(self._root)
            if (record := _record_of(folder)) is not None and record.claimed
        }

    def delete(self, upload_id: str) -> None:
        """Remove an upload as its sender. Raises Conflict once a job has claimed it."""
        folder, slot = self._find(upload_id)
        with slot.lock:
            if records.load(folder).claimed:
                raise Conflict("A job uses this upload.", hint="Delete the job instead.")
            self.discard(upload_id)

    def discard(self, upload_id: str) -> None:
        """Remove an upload as its owner, claimed or not; nothing happens if it is gone."""
        try:
            folder, slot = self._find(upload_id)
        except NotFound:
            return
        if slot.writer is not None:
            slot.writer.interrupt()
        with slot.lock:
            if folder.exists():
                records.remove(folder)
            self._slots.pop(upload_id, None)

    def expire(self, keep: Collection[str] = ()) -> list[str]:
        """Remove what is past its time and neither claimed, being written nor in `keep`.

        Returns the ids removed. To be called now and then.
        """
        found = records.folders(self._root)
        return [path.name for path in found if path.name not in keep and self._drop_old(path)]

    def _drop_old(self, folder: Path) -> bool:
        slot = self._slots.setdefault(folder.name, Slot())
        with slot.lock, suppress(NotFound, Locked):  # another process is at it
            if not self._is_old(folder, slot):
                return False
            with sole(folder) if (folder / CONTENT).exists() else nullcontext():
                if self._is_old(folder, slot):
                    records.remove(folder)
                    self._slots.pop(folder.name, None)
                    return True
        return False

    def _is_old(self, folder: Path, slot: Slot) -> bool:
        record = _record_of(folder)
        if record is None:  # a creation or a removal that a crash cut short
            with records.removed_is_typed():
                return folder.stat().st_mtime + self._ttl_s < self._clock()
        return self._expired(folder, record, slot)

    def _find(self, upload_id: str) -> tuple[Path, Slot]:
        folder = records.folder_of(self._root, upload_id)
        return folder, self._slots.setdefault(upload_id, Slot())

    def _check_length(self, length: int) -> None:
        if length > self._limits.max_bytes:
            raise TooLarge(
                f"The file has {length} bytes; at most {self._limits.max_bytes} are accepted.",
                param="Upload-Length",
            )
        room = self._limits.room(self._root)
        if length > room:
            raise TooLarge(
                f"The file has {length} bytes; the disk of the server has room for {room}.",
                hint="Try again later, or ask the operator for more disk space.",
                param="Upload-Length",
            )

    def _open(self, upload_id: str, offset: int, chunk: "_Chunk") -> Writer:
        folder, slot = self._find(upload_id)
        with slot.lock:
            self._load(folder, slot)
            return Writer(folder, slot, self._limits, offset=offset, **chunk._asdict())

    async def _take(self, upload_id: str, offset: int, chunk: "_Chunk") -> Writer:
        give_up_at = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._in_thread(self._open, upload_id, offset, chunk)
            except Locked:
                if time.monotonic() >= give_up_at:
                    raise
            slot = self._slots.get(upload_id)
            rival = slot.writer if slot is not None else None
            if rival is not None and rival.idle_s() >= self._stall_s:
                rival.interrupt()
            await asyncio.sleep(_POLL_S)

    async def _pump(self, writer: Writer, pieces: AsyncIterable[bytes]) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as scope:

                def stop() -> None:
                    with suppress(RuntimeError):  # the scope may just have ended
                        scope.reschedule(loop.time())

                writer.on_interrupt = partial(loop.call_soon_threadsafe, stop)
                if writer.interrupted:  # before anybody could be told
                    stop()
                async for piece in pieces:
                    if piece and writer.hold(piece):
                        await self._in_thread(writer.write_held)
        except TimeoutError:
            raise taken_over() from None

    def _end(self, upload_id: str, writer: Writer) -> None:
        """Let the next writer in. Raises NotFound if the upload was removed meanwhile."""
        writer.close()
        folder, slot = self._find(upload_id)
        with slot.lock:
            self._touch(folder)

    def _set_claimed(self, upload_id: str, claimed: bool) -> Upload:
        upload = self.info(upload_id)
        if not upload.sealed:
            raise NotFinished("The upload is not complete yet.", param="upload_id")
        folder, slot = self._find(upload_id)
        with slot.lock, sole(folder):  # against another process that finds it expired
            record = records.load(folder)
            if record.claimed != claimed:
                self._touch(folder)
                records.save(folder, replace(record, claimed=claimed))
        return self.info(upload_id)

    def _load(self, folder: Path, slot: Slot) -> Record:
        record = records.load(folder)
        if self._expired(folder, record, slot):
            raise Gone("This upload has expired.", hint="Send the file again.")
        return record

    def _touch(self, folder: Path) -> None:
        now = self._clock()
        with records.removed_is_typed():
            os.utime(folder / CONTENT, (now, now))

    def _expired(self, folder: Path, record: Record, slot: Slot) -> bool:
        if record.claimed or slot.writer is not None:
            return False
        return self._clock() > self._expires_at(folder)

    def _expires_at(self, folder: Path) -> float:
        with records.removed_is_typed():
            return (folder / CONTENT).stat().st_mtime + self._ttl_s

    def _view(self, folder: Path, record: Record, offset: int) -> Upload:
        return Upload.of(folder.name, record, offset, self._expires_at(folder))

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *args, **kwargs))


class _Chunk(NamedTuple):
    checksum: Checksum | None
    length: int | None
    n_bytes: int


def _record_of(folder: Path) -> Record | None:
    try:
        return records.load(folder)
    except NotFound:
        return None
