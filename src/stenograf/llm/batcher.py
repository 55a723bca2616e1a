"""Many callers, one model thread: windows wait here, and those with equal options share a batch.

Two verbs: `submit` and `close`. The queue refuses when it is full, a caller that gave up costs
nothing, and a window that breaks the engine fails alone.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from stenograf.contract.errors import OutOfResources, Overloaded, StenografError, Unavailable
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import Engine, EngineOptions, WindowResult

logger = logging.getLogger(__name__)

_FIRST_GUESS_S = 2.0  # per window, until one was measured
_SMOOTHING = 0.3
_CLOSE_S = 4.0  # an encoder pass cannot be interrupted; the process ends without it


class Pending(Future[WindowResult]):
    """A window on its way; `cancel()` also reaches one that is being computed."""

    def __init__(self, window: Waveform, options: EngineOptions) -> None:
        super().__init__()
        self.window = window
        self.options = options
        self.abandoned = False

    def cancel(self) -> bool:
        """Say that nobody waits any more; False if the computation had begun already."""
        self.abandoned = True
        return super().cancel()


class Batcher:
    """Feeds `engine` from a bounded queue, in one thread of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        queue_size: int = 64,
        max_batch: int = 1,
        max_wait_s: float = 0.0,
    ) -> None:
        self._engine = engine
        self._queue_size = queue_size
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._waiting: deque[Pending] = deque()
        self._computing: Sequence[Pending] = ()
        self._changed = threading.Condition()
        self._closed = False
        self._window_s = _FIRST_GUESS_S
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, window: Waveform, options: EngineOptions) -> Pending:
        """Queue a window, float32 (n_samples,) at 16 kHz, and return its future.

        The future raises what the engine raises. Raises Overloaded, with a computed
        `retry_after_s`, when the queue is full, and Unavailable after `close`.
        """
        pending = Pending(window, options)
        with self._changed:
            if self._closed:
                raise Unavailable("The model service is shutting down.", retry_after_s=10)
            self._drop_abandoned()
            if len(self._waiting) >= self._queue_size:
                ahead = len(self._waiting) + len(self._computing)
                raise Overloaded(
                    f"{len(self._waiting)} windows are waiting for the model already.",
                    hint="Send it again after the time in Retry-After.",
                    retry_after_s=ahead * self._window_s,
                )
            self._waiting.append(pending)
            self._changed.notify_all()
        return pending

    def close(self) -> None:
        """Refuse what waits, abandon what runs, end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            refused = list(self._waiting)
            self._waiting.clear()
            for pending in self._computing:
                pending.abandoned = True
            self._changed.notify_all()
        for pending in refused:
            if pending.set_running_or_notify_cancel():
                pending.set_exception(Unavailable("The model service is shutting down."))
        self._thread.join(timeout=_CLOSE_S)

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.monotonic()
            self._compute(batch)
            with self._changed:
                self._computing = ()
                spent_s = (time.monotonic() - started) / len(batch)
                self._window_s += _SMOOTHING * (spent_s - self._window_s)

    def _next_batch(self) -> list[Pending]:
        """Wait for the oldest window and its company; empty when closed."""
        with self._changed:
            while not self._closed:
                self._drop_abandoned()
                if not self._waiting:
                    self._changed.wait()
                    continue
                self._await_company(self._waiting[0].options)
                batch = [p for p in self._take() if p.set_running_or_notify_cancel()]
                if batch:
                    self._computing = batch
                    return batch
        return []

    def _await_company(self, options: EngineOptions) -> None:
        deadline = time.monotonic() + self._max_wait_s
        while not self._closed and self._matching(options) < self._max_batch:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def _matching(self, options: EngineOptions) -> int:
        return sum(pending.options == options for pending in self._waiting)

    def _take(self) -> list[Pending]:
        """Take the oldest window and up to a batch of equals, wherever they stand."""
        self._drop_abandoned()
        if not self._waiting:
            return []
        options = self._waiting[0].options
        taken = [p for p in self._waiting if p.options == options][: self._max_batch]
        chosen = {id(pending) for pending in taken}
        self._waiting = deque(p for p in self._waiting if id(p) not in chosen)
        return taken

    def _drop_abandoned(self) -> None:
        if any(pending.abandoned for pending in self._waiting):
            self._waiting = deque(p for p in self._waiting if not p.abandoned)

    def _compute(self, batch: Sequence[Pending]) -> None:
        def stop() -> bool:
            return all(pending.abandoned for pending in batch)

        try:
            results = self._engine.transcribe([p.window for p in batch], batch[0].options, stop)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} windows")
        except Exception as exc:
            if len(batch) > 1 and not stop():
                logger.warning("a batch of %d windows failed, one by one now", len(batch))
                for pending in batch:
                    self._compute([pending])
                return
            for pending in batch:
                pending.set_exception(_as_ours(exc))
            return
        for pending, result in zip(batch, results, strict=True):
            pending.set_result(result)


def _as_ours(exc: Exception) -> StenografError:
    if isinstance(exc, StenografError):
        return exc
    allocator = isinstance(exc, RuntimeError) and "allocate memory" in str(exc)
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError" or allocator:
        return OutOfResources("Memory ran out while the model worked on this window.")
    logger.error("the engine failed on a window", exc_info=exc)
    return StenografError("The model failed on this window; the service's log has the details.")
