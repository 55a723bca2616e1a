"""Any recording -> a spool of mono float32 at 16 kHz on disk, measured in the same pass.

FFmpeg runs in a process of its own: a file that crashes or hangs it, or makes it eat memory, costs
that process and an error, nothing else.
"""

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from tempfile import TemporaryFile
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import stenograf
from stenograf.audio.findings import warnings
from stenograf.audio.loudness import level
from stenograf.audio.meter import Measurement
from stenograf.audio.spool import SAMPLE_BYTES
from stenograf.audio.task import ChildTask
from stenograf.contract.errors import (
    Cancelled,
    DecodeLimitExceeded,
    Gone,
    OutOfResources,
    StenografError,
    UndecodableAudio,
    by_code,
)
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Level, Warning

GIB = 1024**3

_POLL_S = 0.1  # how late a cancel or a timeout is noticed
_LONGEST_ANSWER_BYTES = 4 * 1024**2
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
_LOGGER = logging.getLogger(__name__)

OnProgress = Callable[[int, int | None], None]
"""Called with samples decoded and samples expected (None: the file does not say)."""


@dataclasses.dataclass(frozen=True)
class DecodeLimits:
    """How much one file may cost."""

    timeout_s: float = 3600.0
    max_duration_s: float = 24 * 3600.0
    memory_bytes: int = 1 * GIB
    max_spool_bytes: int = 24 * 3600 * SAMPLE_RATE * SAMPLE_BYTES  # 5.5 GB
    min_free_bytes: int = 1 * GIB


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(_Frozen):
    """Extremes of each bucket of the original, at most 2000 buckets, for drawing."""

    bucket_samples: int = Field(gt=0)
    minimum: tuple[float, ...] = Field(max_length=2000)
    maximum: tuple[float, ...] = Field(max_length=2000)


class SourceInfo(_Frozen):
    """What the file says about itself; nothing here is trusted."""

    container: str
    codec: str
    sample_rate: int
    channels: int
    sound_tracks: int
    duration_s: float | None


class Decoded(_Frozen):
    """A recording on its spool; JSON keeps it whole, so it can be stored beside the spool."""

    n_samples: int = Field(gt=0)
    level: Level
    overview: Envelope
    source: SourceInfo
    warnings: tuple[Warning, ...]


def decode(
    source: Path,
    spool: Path,
    limits: DecodeLimits,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Decoded:
    """Decode `source` into `spool`, which appears under its name only when it is complete.

    Sample 0 of the spool is time 0 of the file as players show it: encoder delay is cut off, a
    sound track that starts late has silence in front. Mono is the mean of the channels.
    `on_progress` and `should_stop` run in the calling thread, some times a second.

    Raises UnsupportedFormat or UndecodableAudio for what is not a readable recording,
    DecodeLimitExceeded where it costs more than `limits`, Cancelled when `should_stop` says so,
    OutOfResources where disk or memory of the server run out, Gone where `source` is not there.
    """
    partial = spool.with_name(spool.name + ".part")
    try:
        with _opened(source) as source_fd, _created(partial) as spool_fd:
            task = ChildTask(
                parent_pid=os.getpid(),
                source_fd=source_fd,
                spool_fd=spool_fd,
                **dataclasses.asdict(limits),
            )
            result = _run(
                task, spool.parent, on_progress or _ignore_progress, should_stop or _never
            )
            decoded = _decoded(result, os.fstat(spool_fd).st_size)
        partial.replace(spool)
        return decoded
    finally:
        partial.unlink(missing_ok=True)


def _run(
    task: ChildTask, folder: Path, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Start the process, follow it to its end, give back its result or raise its error."""
    outcome: dict[str, Any] = {}
    with TemporaryFile(dir=folder) as complaints:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stenograf.audio.decode_child", json.dumps(vars(task))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            pass_fds=(task.source_fd, task.spool_fd),
            env=_environment(),
            start_new_session=True,
        )
        try:
            for line in _lines(process, task.timeout_s, should_stop):
                if "progress" in line:
                    on_progress(*line["progress"])
                else:
                    outcome = line
        finally:
            _end(process)
        if "result" not in outcome:
            complaints.seek(0)
            raise _error(outcome.get("error"), process.returncode, complaints.read(4096))
    result: dict[str, Any] = outcome["result"]
    return result


def _lines(
    process: subprocess.Popen[bytes], timeout_s: float, should_stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """The process's answers as they come, until it closes its output."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    rest = b""
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        while True:
            if should_stop():
                raise Cancelled("Decoding was cancelled.")
            if time.monotonic() > deadline:
                raise _too_slow(timeout_s)
            if not selector.select(_POLL_S):
                continue
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                return
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > _LONGEST_ANSWER_BYTES:
                raise UndecodableAudio("Decoding this file went wrong.")
            for line in whole:
                yield json.loads(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        # After an orderly end of its output it only has to exit; that tells how it ended.
        process.wait(_POLL_S)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _error(answer: Any, returncode: int, complaints: bytes) -> StenografError:
    if answer is not None:
        if answer.get("detail"):
            _LOGGER.error("decoding failed unexpectedly: %s", answer["detail"])
        return by_code(answer["code"])(answer["message"], hint=answer["hint"])
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


def _decoded(result: dict[str, Any], spool_bytes: int) -> Decoded:
    """Check the process's answer: it has read hostile bytes and is not trusted."""
    try:
        decoded = Decoded(
            n_samples=result["n_samples"],
            level=level(Measurement(**result["measurement"])),
            overview=Envelope.model_validate(result["overview"]),
            source=SourceInfo.model_validate(result["source"]),
            warnings=warnings(result["findings"]),
        )
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise UndecodableAudio("Decoding this file went wrong.") from error
    if decoded.n_samples * SAMPLE_BYTES != spool_bytes:
        raise OutOfResources("The decoded recording could not be stored completely.")
    return decoded


def _environment() -> dict[str, str]:
    """Little of ours: no secrets, one thread, and the package from where this process has it."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    package_root = Path(stenograf.__file__).resolve().parents[1]
    return kept | {"PYTHONPATH": str(package_root), "OPENBLAS_NUM_THREADS": "1"}


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[int]:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Gone("The recording is no longer stored.") from None
    try:
        if not os.fstat(fd).st_size:
            raise UndecodableAudio("The file is empty.", hint="Check the file and upload it again.")
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _created(spool: Path) -> Iterator[int]:
    try:
        fd = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutOfResources(f"The spool cannot be written: {error.strerror}.") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _ignore_progress(done: int, total: int | None) -> None:
    pass


def _never() -> bool:
    return False
