"""Any recording -> a spool of mono float32 at 16 kHz on disk, measured in the same pass.

FFmpeg runs in a process of its own: a file that crashes or hangs it, or makes it eat memory, costs
that process and an error, nothing else.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stenograf.audio import decode_process
from stenograf.audio.decode_process import OnProgress
from stenograf.audio.findings import warnings
from stenograf.audio.loudness import level
from stenograf.audio.measurement import Measurement
from stenograf.audio.spool import SAMPLE_BYTES
from stenograf.audio.task import ChildTask
from stenograf.contract.errors import Cancelled, Gone, OutOfResources, UndecodableAudio
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Level, Warning

GIB = 1024**3


@dataclasses.dataclass(frozen=True)
class DecodeLimits:
    """How much one file may cost."""

    timeout_s: float = 3600.0
    max_duration_s: float = 24 * 3600.0
    stop_after_s: float | None = None  # the rest of a longer recording is left alone
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
    on_begin: Callable[[int], None] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Decoded:
    """Decode `source` into `spool`, which appears under its name only when it is complete.

    Sample 0 of the spool is time 0 of the file as players show it: encoder delay is cut off, a
    sound track that starts late has silence in front. Mono is the mean of the channels.
    `on_begin` gets the descriptor of the spool, which stays open until the end: what `on_progress`
    reports may be read there already. `on_progress` and `should_stop` run in the calling thread,
    some times a second.

    Raises UnsupportedFormat or UndecodableAudio for what is not a readable recording,
    DecodeLimitExceeded where it costs more than `limits`, Cancelled when `should_stop` says so,
    OutOfResources where disk or memory of the server run out, Gone where `source` is not there.
    """
    with _opened(source) as source_fd, _Partial(spool) as partial:
        if on_begin is not None:
            on_begin(partial.fd)
        task = ChildTask(
            source_fd=source_fd,
            spool_fd=partial.fd,
            **dataclasses.asdict(limits),
        )
        result = decode_process.run(task, on_progress or _ignore_progress, should_stop or _never)
        decoded = _decoded(result, os.fstat(partial.fd).st_size)
        partial.seal()
        return decoded


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
        raise UndecodableAudio(decode_process.WENT_WRONG) from error
    if decoded.n_samples * SAMPLE_BYTES != spool_bytes:
        raise OutOfResources("The decoded recording could not be stored completely.")
    return decoded


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


class _Partial:
    """The spool while it grows, under another name, which goes away unless it is sealed.

    A worker that was given up may still write when its successor begins: each has a file of its
    own, and neither renames nor removes that of the other.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._path = spool.with_name(spool.name + ".part")
        self.fd = -1

    def __enter__(self) -> Self:
        try:
            self._path.unlink(missing_ok=True)
            self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutOfResources(f"The spool cannot be written: {error.strerror}.") from error
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_ours():
            self._path.unlink()
        os.close(self.fd)

    def seal(self) -> None:
        """Give it its name. Cancelled where a successor has taken over."""
        if not self._is_ours():
            raise Cancelled("Somebody else decodes the same recording.")
        self._path.replace(self._spool)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self.fd))
        except FileNotFoundError:
            return False


def _ignore_progress(done: int, total: int | None) -> None:
    pass


def _never() -> bool:
    return False
