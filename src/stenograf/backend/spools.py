"""Folders with decoded sound, one for each recognition; kept between attempts at it."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stenograf.backend.filelock import busy, try_lock, unlock

_PATIENCE_S = 20.0
_LOOK_S = 0.01


class Spools:
    """Any number of threads and processes may use a folder; nobody removes one that is used.

    A recording that is asked for again while the run that was cancelled winds up is worked on at
    once: the files of both are their own until they are complete.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def used(self, recognition_id: str) -> Iterator[Path]:
        """The folder of a recognition, made if it is not there; it stays while the block runs.

        Raises Unavailable when another process does not let go of it.
        """
        descriptor, folder = self._enter(self._root / recognition_id)
        try:
            yield folder
        finally:
            _leave(descriptor)

    def forget(self, recognition_id: str) -> None:
        """Remove the decoded sound of a recognition, unless somebody uses it."""
        folder = self._root / recognition_id
        with suppress(OSError):  # not there, or it stays until the next `clean`
            descriptor = _opened(folder)
            try:
                if not try_lock(descriptor, fcntl.LOCK_EX) or not _is_at(descriptor, folder):
                    return  # used, or removed by another hand, and it may be a new one by now
                # Who comes now makes a folder of their own, however long the removal takes.
                gone = self._root / f"gone-{uuid.uuid4().hex}"
                folder.rename(gone)
            finally:
                _leave(descriptor)
            shutil.rmtree(gone, ignore_errors=True)

    def clean(self, unfinished: Collection[str]) -> None:
        """Remove decoded sound of every recognition but the `unfinished`, and what is not used."""
        if not self._root.is_dir():
            return
        for name in {folder.name for folder in self._root.iterdir()}.difference(unfinished):
            self.forget(name)

    def _enter(self, folder: Path) -> tuple[int, Path]:
        give_up_at = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up_at:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                descriptor = _opened(folder)
            except (FileExistsError, FileNotFoundError):  # it goes away just now
                time.sleep(_LOOK_S)
                continue
            if try_lock(descriptor, fcntl.LOCK_SH) and _is_at(descriptor, folder):
                return descriptor, folder
            # Held against us only for the moment of a renaming, after which it is another folder.
            _leave(descriptor)
            time.sleep(_LOOK_S)
        raise busy()


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _leave(descriptor: int) -> None:
    unlock(descriptor)
    os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
