"""Threads that work while there is work: a poke to be quick, a rare poll to be sure.

The job table says what is due; nothing is kept here, so nothing can be lost here.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)


class ThreadQueue:
    """Calls each of `workers` on a thread of its own until it returns False, then waits."""

    def __init__(self, workers: Sequence[Callable[[], bool]], *, poll_s: float = 30.0) -> None:
        self._poll_s = poll_s
        self._poked = threading.Condition()
        self._pokes = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(work,), name=f"worker-{n}", daemon=True)
            for n, work in enumerate(workers)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def poke(self) -> None:
        """Something may be due now."""
        with self._poked:
            self._pokes += 1
            self._poked.notify_all()

    def close(self, timeout_s: float) -> None:
        """Take nothing new; wait for what is being done, at most `timeout_s` in all."""
        with self._poked:
            self._closed = True
            self._poked.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, process_next: Callable[[], bool]) -> None:
        while not self._closed:
            with self._poked:
                seen = self._pokes
            if not self._try(process_next):
                with self._poked:
                    self._poked.wait_for(
                        lambda seen=seen: self._closed or self._pokes != seen,  # type: ignore[misc]
                        self._poll_s,
                    )

    def _try(self, process_next: Callable[[], bool]) -> bool:
        try:
            return process_next()
        except Exception:
            # The database may be unreachable for a while; the lease returns what was claimed.
            _log.exception("a worker could not go on; it tries again")
            return False
