"""Many callers, one model thread: windows wait here, and those with equal options share a batch.

Two verbs: `submit` and `close`. The queue refuses when it is full, a caller that gave up costs
nothing, a window that breaks the engine fails alone, a batch too large for the memory is halved.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from stenograf.contract.errors import OutOfResources, Overloaded, Unavailable
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import Engine, EngineOptions
from stenograf.llm.failures import as_ours
from stenograf.llm.line import Line, Pending

logger = logging.getLogger(__name__)

_FIRST_GUESS_S = 2.0  # per window, until one was measured
_SMOOTHING = 0.3
_TRY_LARGER_AFTER = 20  # batches that fitted
_SPARED = 4  # of so many places one is for windows that could also come later
_CLOSE_S = 4.0  # an encoder pass cannot be interrupted; the process ends without it


class Batcher:
    """Feeds `engine` from a bounded queue, in one thread of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        queue_size: int = 64,
        max_batch: int = 1,
        max_batch_samples: int | None = None,
        max_wait_s: float = 0.0,
        idle_s: float = 0.0,
        on_idle: Callable[[], None] | None = None,
    ) -> None:
        """A batch has at most `max_batch` windows, `max_batch_samples` long together.

        An idle engine begins at once. One that has just ended a batch gives the callers of that
        batch `max_wait_s` to come back, and else begins with fewer. `on_idle` is called in the
        model thread when nothing came for `idle_s`, once per rest.
        """
        self._engine = engine
        self._queue_size = queue_size
        self._max_batch = max_batch
        self._max_batch_samples = max_batch_samples
        self._max_wait_s = max_wait_s
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._fits = max_batch  # windows that memory allows at once, as far as is known
        self._fitted = 0  # batches in a row that were as large as that
        self._line = Line()
        self._computing: Sequence[Pending] = ()
        self._changed = threading.Condition()
        self._closed = False
        self._awake = True
        self._window_s = _FIRST_GUESS_S
        self._last_batch = 0
        self._last_ended = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def fits(self) -> int:
        """How many windows a batch may have now."""
        return self._fits

    @property
    def has_room(self) -> bool:
        """Whether less than a quarter of the queue is taken; whoever can wait leaves the rest."""
        with self._changed:
            return _SPARED * len(self._line) < self._queue_size

    def submit(
        self,
        window: Waveform,
        options: EngineOptions,
        recording: str = "",
        *,
        begun: bool = False,
    ) -> Pending:
        """Queue a window, float32 (n_samples,) at 16 kHz, and return its future.

        Windows of one `recording`, any name, share its turns; without a name each is on its own.
        The future raises what the engine raises. Raises Overloaded, with a computed
        `retry_after_s`, when the queue is full, unless the recording has `begun` and its earlier
        windows would be lost, and Unavailable after `close`.
        """
        pending = Pending(window, options, recording)
        with self._changed:
            if self._closed:
                raise Unavailable("The model service is shutting down.", retry_after_s=10)
            self._line.drop_abandoned()
            if len(self._line) >= self._queue_size and not begun:
                ahead = len(self._line) + len(self._computing)
                raise Overloaded(
                    f"{len(self._line)} windows are waiting for the model already.",
                    hint="Send it again after the time in Retry-After.",
                    retry_after_s=ahead * self._window_s,
                )
            self._line.join(pending)
            self._changed.notify_all()
        return pending

    def close(self) -> None:
        """Refuse what waits, abandon what runs, end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            refused = self._line.clear()
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
                self._last_batch, self._last_ended = len(batch), time.monotonic()
                spent_s = (self._last_ended - started) / len(batch)
                self._window_s += _SMOOTHING * (spent_s - self._window_s)

    def _next_batch(self) -> list[Pending]:
        """Wait for a window and its company; empty when closed."""
        while not self._rest_until_asked():
            if self._on_idle is not None:
                self._on_idle()
        with self._changed:
            while not self._closed:
                self._line.drop_abandoned()
                if not len(self._line):
                    self._changed.wait()
                    continue
                self._await_company()
                self._line.drop_abandoned()
                taken = self._line.take(self._fits, self._max_batch_samples)
                batch = [p for p in taken if p.set_running_or_notify_cancel()]
                if batch:
                    self._computing = batch
                    return batch
        return []

    def _rest_until_asked(self) -> bool:
        """Wait until there is work or the end; False when `idle_s` passed before."""
        with self._changed:
            idle_s = self._idle_s if self._on_idle is not None and self._awake else None
            asked = self._changed.wait_for(lambda: self._closed or len(self._line), idle_s)
            self._awake = bool(asked)
            return bool(asked)

    def _await_company(self) -> None:
        """Who was answered just now may send the next window at once."""
        expected = min(self._fits, self._last_batch)
        deadline = self._last_ended + self._max_wait_s
        while not self._closed and self._line.ready() < expected:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def _compute(self, batch: Sequence[Pending]) -> None:
        def stop() -> bool:
            return all(pending.abandoned for pending in batch)

        try:
            results = self._engine.transcribe([p.window for p in batch], batch[0].options, stop)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} windows")
        except Exception as exc:
            error = as_ours(exc)
            if len(batch) > 1 and not stop():
                self._compute_parts(batch, too_large=isinstance(error, OutOfResources))
                return
            for pending in batch:
                pending.set_exception(error)
            return
        self._note_fit(len(batch))
        for pending, result in zip(batch, results, strict=True):
            pending.set_result(result)

    def _compute_parts(self, batch: Sequence[Pending], *, too_large: bool) -> None:
        if too_large:
            self._fits, self._fitted = max(1, len(batch) // 2), 0
            logger.warning("memory ran out; batches of %d from now on", self._fits)
        else:
            logger.warning("a batch of %d windows failed, one by one now", len(batch))
        size = self._fits if too_large else 1
        for first in range(0, len(batch), size):
            self._compute(batch[first : first + size])

    def _note_fit(self, size: int) -> None:
        """Try a larger batch again some time after memory ran out."""
        self._fitted = self._fitted + 1 if size == self._fits else 0
        if self._fitted >= _TRY_LARGER_AFTER and self._fits < self._max_batch:
            self._fits, self._fitted = min(2 * self._fits, self._max_batch), 0
