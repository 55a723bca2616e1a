"""Running a decoding process: listen to it, bound it, tell what became of it."""

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, DefaultSelector
from tempfile import TemporaryFile
from typing import Any

from stenograf.audio.decode_starter import Starter
from stenograf.audio.task import ChildTask
from stenograf.contract.errors import (
    Cancelled,
    DecodeLimitExceeded,
    OutOfResources,
    StenografError,
    UndecodableAudio,
    by_code,
)

OnProgress = Callable[[int, int | None], None]
"""Called with samples decoded and samples expected (None: the file does not say)."""

WENT_WRONG = "Decoding this file went wrong."

_POLL_S = 0.1  # how late a cancel or a timeout is noticed
_LONGEST_ANSWER_BYTES = 4 * 1024**2
_STARTER = Starter()
_LOGGER = logging.getLogger(__name__)


def run(
    task: ChildTask, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Start the process, follow it to its end, give back its result or raise its error."""
    outcome: dict[str, Any] = {}
    with TemporaryFile() as complaints:
        with _STARTER.started(task, complaints) as process:
            for line in _lines(process.output, task.timeout_s, should_stop):
                if "progress" in line:
                    on_progress(*line["progress"])
                else:
                    outcome = line
            process.wait()  # how it ends tells what happened to it
        if "result" not in outcome:
            complaints.seek(0)
            raise _error(outcome.get("error"), process.returncode, complaints.read(4096))
    result: dict[str, Any] = outcome["result"]
    return result


def shut_down() -> None:
    """End what is kept ready for the next recording; safe at any moment between two."""
    _STARTER.shut_down()


def _lines(
    output: int, timeout_s: float, should_stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """The process's answers as they come, until it closes its output."""
    deadline = time.monotonic() + timeout_s
    rest = b""
    with DefaultSelector() as selector:
        selector.register(output, EVENT_READ)
        while True:
            if should_stop():
                raise Cancelled("Decoding was cancelled.")
            if time.monotonic() > deadline:
                raise _too_slow(timeout_s)
            if not selector.select(_POLL_S):
                continue
            piece = os.read(output, 65536)
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > _LONGEST_ANSWER_BYTES:
                raise UndecodableAudio(WENT_WRONG)
            yield from map(_parsed, whole)


def _parsed(line: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict):
            return answer
    raise UndecodableAudio(WENT_WRONG)


def _error(answer: Any, returncode: int | None, complaints: bytes) -> StenografError:
    if answer is not None:
        if answer.get("detail"):
            _LOGGER.error("decoding failed unexpectedly: %s", answer["detail"])
        return by_code(answer["code"])(answer["message"], hint=answer["hint"])
    if returncode is None:  # who would tell has been killed, and the process with it
        return OutOfResources("Decoding was ended from outside, as happens where memory runs out.")
    if returncode == -signal.SIGXCPU:
        return _too_slow(None)
    if returncode == -signal.SIGKILL:
        return OutOfResources("The server ran out of memory while decoding this file.")
    if returncode < 0:
        return UndecodableAudio(
            "The file is damaged in a way that crashes its decoder.",
            hint="Convert it to WAV, MP3 or FLAC and try again.",
        )
    _LOGGER.error("the decoding process failed: %s", complaints.decode(errors="replace"))
    return StenografError("The decoding process could not run.", hint="See the service's log.")


def _too_slow(timeout_s: float | None) -> DecodeLimitExceeded:
    bound = "is allowed" if timeout_s is None else f"the {timeout_s:g} seconds that are allowed"
    return DecodeLimitExceeded(
        f"Decoding this file takes more time than {bound}.",
        hint="Convert it to WAV, MP3 or FLAC, or cut it into shorter recordings.",
    )
