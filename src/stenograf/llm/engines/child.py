"""An engine in a process of its own.

The service stays small and answers while the weights come and go: ending the process is the one
way to really give memory back, and whatever the engine's native code does, a crash or the kernel's
out-of-memory killer, ends there and costs one batch.
"""

import contextlib
import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from stenograf.contract.errors import (
    Cancelled,
    ErrorBody,
    OutOfResources,
    StenografError,
    Unavailable,
    by_code,
)
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import (
    Capabilities,
    Engine,
    EngineOptions,
    Stop,
    WindowResult,
    never,
)
from stenograf.llm.engines.factory import EngineSettings, engine_factory
from stenograf.llm.engines.shelf import Shelf
from stenograf.llm.failures import as_ours
from stenograf.llm.models import EngineFactory, Report

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.02  # whether the caller gave up
_END_S = 3.0
_HUNG_AFTER_S = 600.0  # without an answer to "stop"; a large batch's encoder cannot be interrupted
# Not `-m`: what is pickled must come from a module of the same name on both sides.
_PROGRAM = "from stenograf.llm.engines.child import main; main()"


@dataclass(frozen=True)
class _Begin:
    settings: EngineSettings
    log_level: int


@dataclass(frozen=True)
class _Progress:
    share: float
    detail: str


@dataclass(frozen=True)
class _Work:
    lengths: Sequence[int]  # of the windows on the shelf
    options: EngineOptions


@dataclass(frozen=True)
class _Failure:
    body: ErrorBody
    retry_after_s: float | None

    @classmethod
    def of(cls, error: StenografError) -> "_Failure":
        return cls(error.body(), error.retry_after_s)

    def error(self) -> StenografError:
        body = self.body
        kind = by_code(body.code)
        return kind(
            body.message, hint=body.hint, param=body.param, retry_after_s=self.retry_after_s
        )


class _Stop:
    """Sent while work is under way: nobody waits for it any more."""


def child_engine_factory(settings: EngineSettings) -> EngineFactory:
    """A factory whose engine lives in a process of its own."""

    def load(report: Report) -> Engine:
        return ChildEngine(settings, report)

    return load


class ChildEngine:
    """Runs the engine that `settings` name in a process; loads it again when it is gone.

    Raises on construction what loading raises. Beside the Engine protocol it can `rest`.
    """

    def __init__(
        self, settings: EngineSettings, report: Report, hung_after_s: float = _HUNG_AFTER_S
    ) -> None:
        """A process that was told to stop and says nothing for `hung_after_s` is ended."""
        self._settings = settings
        self._hung_after_s = hung_after_s
        self._shelf = Shelf()
        self._process, self._pipe = _start(settings, self._shelf)
        self._loading = True
        self._closed = False
        self.capabilities = self._await_ready(report, never)

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory now."""
        return self._process.poll() is None and not self._loading

    @property
    def pid(self) -> int:
        """The process, the last one while it rests."""
        return self._process.pid

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """Recognize windows in the process, which is started again if it rests or has died."""
        if self._process.poll() is not None:
            self._renew()
        if self._loading:
            self._await_ready(_log_progress, stop)
        self._send(_Work(self._laid(windows), options))
        answer = self._answer(stop)
        if isinstance(answer, list):
            return answer
        raise _unexpected(answer)

    def rest(self) -> None:
        """End the process and so give its memory back; the next `transcribe` loads again."""
        if self._process.poll() is None:
            logger.info("the model's process ends: nobody asked for it for a while")
            self._end()
            self._shelf.clear()

    def close(self) -> None:
        """End the process for good. Idempotent."""
        self._closed = True
        self._end()
        self._shelf.clear()

    def _laid(self, windows: Sequence[Waveform]) -> Sequence[int]:
        try:
            return self._shelf.put(windows)
        except OSError as error:
            raise OutOfResources("There is no memory for the sound.") from error

    def _renew(self) -> None:
        if self._closed:
            raise Unavailable("The model service is shutting down.")
        self._pipe.close()
        self._process, self._pipe = _start(self._settings, self._shelf)
        self._loading = True

    def _await_ready(self, report: Report, stop: Stop) -> Capabilities:
        while True:
            answer = self._receive(stop)
            if isinstance(answer, _Progress):
                report(answer.share, answer.detail)
            elif isinstance(answer, Capabilities):
                self._loading = False
                return answer
            else:
                self._end()
                raise _unexpected(answer)

    def _answer(self, stop: Stop) -> object:
        hung_at = math.inf

        def hung() -> bool:
            nonlocal hung_at
            if hung_at == math.inf and stop():
                hung_at = time.monotonic() + self._hung_after_s
                self._send(_Stop())
            # It answers soon, and that answer must not be left in the pipe.
            return time.monotonic() > hung_at

        try:
            return self._receive(hung)
        except Cancelled:
            logger.error("the model's process does not answer and is ended")
            self._end()
            raise

    def _receive(self, stop: Stop) -> object:
        """The next message. Raises Cancelled when `stop()` says so, and what the death of the
        process means."""
        try:
            while not self._pipe.poll(_LOOK_EVERY_S):
                if stop():
                    raise Cancelled("Nobody waits for this window any more.")
            message: object = self._pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None
        return message

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            raise self._death() from None

    def _death(self) -> StenografError:
        if self._closed:
            return Unavailable("The model service is shutting down.")
        self._end()
        code = self._process.returncode
        logger.error("the model's process ended with %s", code)
        if code == -signal.SIGKILL:
            return OutOfResources(
                "The model's process was killed, most likely because memory ran out.",
                hint="Give the model service more memory, or choose a smaller model.",
            )
        return StenografError(
            "The model's process ended unexpectedly; the service's log has the details."
        )

    def _end(self) -> None:
        self._loading = False
        self._pipe.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _start(settings: EngineSettings, shelf: Shelf) -> tuple["subprocess.Popen[bytes]", Connection]:
    ours, theirs = Pipe()
    descriptors = [theirs.fileno(), shelf.fd]
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, *map(str, descriptors)],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
    )
    theirs.close()
    ours.send(_Begin(settings, logging.getLogger().getEffectiveLevel()))
    return process, ours


def _log_progress(share: float, detail: str) -> None:
    logger.info("the model loads again, %.0f%%: %s", 100 * share, detail)


def _unexpected(answer: object) -> StenografError:
    if isinstance(answer, _Failure):
        return answer.error()
    return StenografError(f"The model's process answered with {type(answer).__name__}.")


def _serve(pipe: Connection, shelf: Shelf) -> None:
    """The process: load, then answer until the other end of the pipe is gone."""
    begin = pipe.recv()
    assert isinstance(begin, _Begin)
    logging.basicConfig(
        level=begin.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )

    def report(share: float, detail: str) -> None:
        pipe.send(_Progress(share, detail))

    try:
        engine = engine_factory(begin.settings)(report)
    except StenografError as error:
        pipe.send(_Failure.of(error))
        return
    except Exception as error:
        logger.exception("model not loaded")
        what = f"The model could not be loaded: {type(error).__name__}: {error}"
        pipe.send(_Failure.of(StenografError(what)))
        return
    pipe.send(engine.capabilities)
    while True:
        message = pipe.recv()
        if isinstance(message, _Work):
            pipe.send(_worked(engine, message, pipe, shelf))


def _worked(
    engine: Engine, work: _Work, pipe: Connection, shelf: Shelf
) -> list[WindowResult] | _Failure:
    stopped = False

    def stop() -> bool:
        nonlocal stopped
        if not stopped and pipe.poll():
            stopped = isinstance(pipe.recv(), _Stop)
        return stopped

    try:
        return engine.transcribe(shelf.take(work.lengths), work.options, stop)
    except Exception as error:
        return _Failure.of(as_ours(error))


def main() -> None:
    """The process; its arguments are the descriptors of its end of the pipe and of the shelf."""
    pipe, shelf = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _serve(Connection(pipe), Shelf(shelf))
