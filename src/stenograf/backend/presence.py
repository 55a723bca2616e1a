"""Whether other processes of the backend work on the same data folder."""

import fcntl
import os
from pathlib import Path

from stenograf.backend.filelock import FileLock, try_lock, unlock

_PATIENCE_S = 60.0  # for another process that takes back what a dead one left


class Presence:
    """`enter` tells whether this process is the only one; it stays that until `settle`.

    Every process is counted by a lock of its own on one file, so one that is killed counts no
    more, and one that goes on when the first of them dies still does.
    """

    def __init__(self, folder: Path) -> None:
        self._door = FileLock(folder / "backend.door", patience_s=_PATIENCE_S)
        self._path = folder / "backend.lock"
        self._descriptor: int | None = None
        self._entering = False

    def enter(self) -> bool:
        """Come in; whether nobody else is there. Raises Unavailable if another does not settle."""
        self._door.__enter__()
        self._entering = True
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        alone = try_lock(self._descriptor, fcntl.LOCK_EX)
        # Others look behind the same door only, so nobody sees the moment between the two locks.
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        return alone

    def settle(self) -> None:
        """What only the first may do is done: let others in."""
        if self._entering:
            self._entering = False
            self._door.__exit__(None, None, None)

    def leave(self) -> None:
        """Count no more."""
        self.settle()
        if self._descriptor is not None:
            unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
