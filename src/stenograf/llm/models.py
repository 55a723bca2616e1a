"""The one model of the service: loading -> ready <-> resting | failed, seen at any moment."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from stenograf.contract.errors import Cancelled, ModelNotReady, StenografError
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.llm.batcher import Batcher
from stenograf.llm.batchsize import BatchSize, batch_size
from stenograf.llm.engines.base import Capabilities, Engine, EngineOptions, RestingEngine

logger = logging.getLogger(__name__)

Report = Callable[[float, str], None]
"""Told while an engine loads: progress 0..1 and what is being done."""

EngineFactory = Callable[[Report], Engine]
"""Builds and loads an engine; raises StenografError with what, why and what to do."""

_RETRY_WHILE_LOADING_S = 5.0
_WARM_UP_STEPS = 4


class ModelState(StrEnum):
    """A model's life."""

    LOADING = "loading"
    READY = "ready"
    RESTING = "resting"  # takes requests as READY does; its memory was given back
    FAILED = "failed"

    @property
    def answers(self) -> bool:
        """Whether requests are taken."""
        return self in (ModelState.READY, ModelState.RESTING)


@dataclass(frozen=True)
class ModelStatus:
    """One look at the model: `progress` from 0 to 1, `detail` a sentence."""

    state: ModelState
    progress: float
    detail: str
    capabilities: Capabilities | None = None
    batch: BatchSize | None = None


class ModelHost:
    """Loads the engine in a thread of its own and owns the batcher that feeds it."""

    def __init__(
        self,
        load: EngineFactory,
        *,
        queue_size: int,
        max_batch: int,
        max_wait_s: float,
        keep_alive_s: float = 0.0,
    ) -> None:
        """A `max_batch` of 0 suits the engine; with `keep_alive_s` over 0 an engine that can rest
        does so after that idle time."""
        self._load = load
        self._keep_alive_s = keep_alive_s
        self._queue_size = queue_size
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._status = ModelStatus(ModelState.LOADING, 0.0, "Waiting to load.")
        self._engine: Engine | None = None
        self._batcher: Batcher | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Begin to load; returns at once."""
        threading.Thread(target=self._run, name="model-load", daemon=True).start()

    @property
    def status(self) -> ModelStatus:
        """Where the model stands now."""
        status, engine = self._status, self._engine
        if isinstance(engine, RestingEngine) and not engine.loaded:
            return replace(status, state=ModelState.RESTING)
        return status

    def ready(self) -> tuple[Capabilities, Batcher]:
        """The loaded model and its queue; raises ModelNotReady with the reason until then."""
        status, batcher = self._status, self._batcher
        if status.state is ModelState.FAILED:
            raise ModelNotReady(status.detail)
        if status.capabilities is None or batcher is None:
            percent = f"{status.progress:.0%}"
            raise ModelNotReady(
                f"The model is still loading ({percent}): {status.detail}",
                hint="GET /ready shows how far it is.",
                retry_after_s=_RETRY_WHILE_LOADING_S,
            )
        return status.capabilities, batcher

    def close(self) -> None:
        """Stop the queue and give the model's memory back. Idempotent."""
        with self._lock:
            self._closed = True
            batcher, engine = self._batcher, self._engine
            self._batcher = self._engine = None
        if batcher is not None:
            batcher.close()
        if engine is not None:
            engine.close()

    def _run(self) -> None:
        try:
            engine = self._load(self._report)
            self._report(0.97, "Warming up.")
            _warm_up(engine)
        except StenografError as exc:
            self._fail(f"{exc.message} {exc.hint or ''}".strip())
            logger.error("model not loaded: %s", self._status.detail)
        except Exception as exc:
            self._fail(f"The model could not be loaded: {type(exc).__name__}: {exc}")
            logger.exception("model not loaded")
        else:
            self._serve(engine)

    def _serve(self, engine: Engine) -> None:
        with self._lock:
            if self._closed:
                engine.close()
                return
            self._engine = engine
            rest = engine.rest if isinstance(engine, RestingEngine) else None
            capabilities = engine.capabilities
            batch = batch_size(self._max_batch, capabilities)
            self._batcher = Batcher(
                engine,
                queue_size=self._queue_size,
                max_batch=batch.windows,
                max_batch_samples=batch.samples,
                max_wait_s=self._max_wait_s,
                idle_s=self._keep_alive_s,
                on_idle=rest if self._keep_alive_s > 0 else None,
            )
            self._status = ModelStatus(ModelState.READY, 1.0, "Ready.", capabilities, batch)
        logger.info(
            "model ready: %s on %s, %s, batches of up to %s",
            capabilities.model,
            capabilities.device,
            capabilities.dtype,
            batch,
        )
        if capabilities.embedded:
            logger.warning("demo model: knows numbers, dates and short phrases only")

    def _report(self, progress: float, detail: str) -> None:
        self._status = ModelStatus(ModelState.LOADING, min(max(progress, 0.0), 1.0), detail)

    def _fail(self, detail: str) -> None:
        self._status = ModelStatus(ModelState.FAILED, self._status.progress, detail)


def _warm_up(engine: Engine) -> None:
    """A few steps on a second of noise, so that the first caller does not pay for lazy set-up."""
    noise = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE).astype(np.float32)
    language = engine.capabilities.default_language
    decode = DecodeOptions(language=language, word_timestamps=False)
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked > _WARM_UP_STEPS

    with suppress(Cancelled):
        engine.transcribe([noise], EngineOptions(decode=decode), enough)
