"""Mutual exclusion of threads and of processes, by a file that both of them lock."""

import fcntl
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from stenograf.contract.errors import Unavailable

_LOOK_S = 0.02
_ASK_AGAIN_S = 5.0


class FileLock:
    """A lock for one thread of one process at a time; use as a context manager.

    Who waits longer than `patience_s` gets Unavailable. A process that is killed gives it back.
    """

    def __init__(self, path: Path, *, patience_s: float = 20.0) -> None:
        self._path = path
        self._patience_s = patience_s
        self._threads = threading.Lock()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        give_up_at = time.monotonic() + self._patience_s
        if not self._threads.acquire(timeout=self._patience_s):
            raise busy()
        with ExitStack() as undo:
            undo.callback(self._threads.release)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, descriptor)
            while not try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() >= give_up_at:
                    raise busy()
                time.sleep(_LOOK_S)
            undo.callback(unlock, descriptor)
            self._held = undo.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()


def try_lock(descriptor: int, kind: int) -> bool:
    """Lock an open file or folder, `LOCK_SH` or `LOCK_EX`; False if others keep that from being."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give a lock back.

    Closing is not enough: a process being started just now holds a copy until its exec.
    """
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def busy() -> Unavailable:
    """The error of one who waited in vain."""
    return Unavailable(
        "Another process of the backend does not let go of what both need.",
        retry_after_s=_ASK_AGAIN_S,
    )
