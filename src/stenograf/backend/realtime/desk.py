"""Takes live clients in, a bounded number of them, and gives each its conversation."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool

from stenograf.audio.vad import VoiceDetector
from stenograf.backend.realtime.config import SessionConfig
from stenograf.backend.realtime.ear import Ear
from stenograf.backend.realtime.line import Line
from stenograf.backend.realtime.scribe import Scribe
from stenograf.backend.realtime.session import Conversation, Limits
from stenograf.backend.service import Service
from stenograf.contract.errors import Overloaded
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE

_THREADS_EACH = 2  # one listens, one waits for the model
_ASK_AGAIN_S = 10.0


class RealtimeDesk:
    """Everything that live clients share; used on the event loop only."""

    def __init__(
        self,
        service: Service,
        detector: VoiceDetector,
        *,
        max_connections: int,
        idle_timeout_s: float,
        max_buffer_s: float,
    ) -> None:
        self._service, self._detector = service, detector
        self._max_connections = max_connections
        self._limits = Limits(idle_timeout_s, round(max_buffer_s * SAMPLE_RATE))
        self._open = 0
        self._threads = ThreadPoolExecutor(
            max(1, _THREADS_EACH * max_connections), thread_name_prefix="realtime"
        )

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for live clients, for as long as it is held. Raises Overloaded."""
        if self._open >= self._max_connections:
            raise Overloaded(
                "As many live transcriptions run as are allowed here.",
                hint="Try again later; REALTIME_MAX_CONNECTIONS is the bound.",
                retry_after_s=_ASK_AGAIN_S,
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def check(self, config: SessionConfig) -> None:
        """Raise ModelNotFound, BadOptions for a configuration that cannot be had."""
        await self._choose_model(config.options())

    def conversation(self, line: Line, config: SessionConfig, *, old_dialect: bool) -> Conversation:
        """A conversation over `line` that begins with `config`."""
        return Conversation(
            line,
            config=config,
            ear=Ear(self._detector, self._limits.max_samples),
            scribe=Scribe(self._service.engine, self._detector, self._threads),
            choose_model=self._choose_model,
            threads=self._threads,
            limits=self._limits,
            old_dialect=old_dialect,
        )

    def close(self) -> None:
        """End the threads; conversations have ended before."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _choose_model(self, options: TranscribeOptions) -> tuple[TranscribeOptions, str]:
        return await run_in_threadpool(self._service.model_for, options)
