"""N windows at the model at a time; each result is stored the moment it is there.

The first window has a head start: the model begins with it alone, so that its text is not kept back
by a batch, and finds the others waiting when it is done. While all of it may be in vain, one window
is there at a time: a batch that has begun cannot be called back, and the windows that count would
have to wait for its end.
"""

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from stenograf.audio.spool import Spool
from stenograf.backend.connection import Aborted, Connection
from stenograf.backend.engine import EngineClient
from stenograf.backend.feed import Feed, Task
from stenograf.backend.notebook import Notebook
from stenograf.backend.records import Heard, PlannedWindow
from stenograf.backend.stop import Stop

_STOP_CHECK_S = 0.2
_LOOK_S = 0.05  # how late a new window is noticed while others are at the model
_HEAD_START_S = 0.5
DRAIN_S = 5.0  # a shutdown waits so long for windows that are at the model


@dataclass
class Recognizer:
    """Sends the windows of one file; `in_flight` of them at the same time."""

    engine: EngineClient
    model: str
    in_flight: int
    spool: Spool
    gain: float
    notebook: Notebook
    stop: Stop
    _sessions: set[Connection] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    def run(self, feed: Feed) -> Iterator[tuple[int, Heard]]:
        """Recognize and store windows as they come; yields (index, result) as they finish.

        Raises the first error of a window or of the feed after the windows in flight are stored or
        ended; Stopped once the stop signal is set.
        """
        alone_until = math.inf
        pending: dict[Future[Heard], Task] = {}
        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="window") as pool:
            try:
                while True:
                    alone = time.monotonic() < alone_until or self.notebook.provisional
                    room = 1 if alone else self.in_flight
                    while len(pending) < room and (task := feed.take()) is not None:
                        pending[pool.submit(self._recognize, task[1])] = task
                        alone_until = min(alone_until, time.monotonic() + _HEAD_START_S)
                    if feed.ended and not pending:
                        return
                    if not pending:
                        feed.wait(_STOP_CHECK_S)
                    # A window may be found as well as finished, and only one can be waited for.
                    starved = len(pending) < room and not feed.ended
                    pause_s = _LOOK_S if starved else _STOP_CHECK_S
                    done, _ = wait(pending, pause_s if pending else 0.0, FIRST_COMPLETED)
                    if done:
                        alone_until = 0.0
                    yield from self._store(done, pending)
                    self.stop.check()
            except Aborted:
                self.stop.check()
                raise
            finally:
                self._wind_up(pending)

    def _store(
        self, done: set[Future[Heard]], pending: dict[Future[Heard], Task]
    ) -> Iterator[tuple[int, Heard]]:
        failed: BaseException | None = None
        for future in done:
            index, window = pending.pop(future)
            failed = future.exception() or failed
            if future.exception() is None:
                self.notebook.store(index, window.end - window.start, future.result())
                yield index, future.result()
        if failed is not None:
            raise failed

    def _wind_up(self, pending: dict[Future[Heard], Task]) -> None:
        """End what is in flight; on a shutdown or a neighbour's failure, store what still comes."""
        try:
            self._store_late(pending)
        finally:
            with self._lock:  # a session that went back to the pool is somebody else's
                self._over = True
                for session in self._sessions:
                    session.abort()

    def _store_late(self, pending: dict[Future[Heard], Task]) -> None:
        wanted = self.stop.gently or not self.stop()
        deadline = time.monotonic() + (DRAIN_S if wanted else 0.0)
        while pending and wanted and time.monotonic() < deadline:
            done, _ = wait(pending, _STOP_CHECK_S, FIRST_COMPLETED)
            for future in done:
                index, window = pending.pop(future)
                if future.exception() is None:
                    self.notebook.store(index, window.end - window.start, future.result())
            wanted = self.stop.gently or not self.stop()

    def _recognize(self, window: PlannedWindow) -> Heard:
        waveform = self.spool.read(window.start, window.end) * self.gain
        with self.engine.session() as session:
            with self._lock:
                self._sessions.add(session)
            try:
                if self._over or self.stop():
                    raise Aborted
                return self.engine.transcribe(
                    session,
                    waveform,
                    self.notebook.options,
                    self.model,
                    self.stop,
                    self.notebook.recording,
                )
            finally:
                with self._lock:
                    self._sessions.discard(session)
