"""What the disk knows of one upload: `<root>/<id>/content` and `<root>/<id>/info.json`."""

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from stenograf.contract.errors import NotFound, OutOfResources

_log = logging.getLogger(__name__)

CONTENT = "content"
_INFO = "info.json"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,64}/[\w!#$&^.+-]{1,64}", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MAX_NAME = 255  # characters; what most file systems take


@dataclass(frozen=True)
class Record:
    """The durable facts of an upload; its offset is the size of its content file.

    While a chunk with a checksum is on its way, `unverified_from` is where that chunk began:
    bytes after it do not count, whatever the size of the file says.
    """

    length: int | None
    metadata: dict[str, str]
    created_at: float
    unverified_from: int | None = None
    sha256: str | None = None
    claimed: bool = False

    @property
    def filename(self) -> str:
        """The name the client gave, without folders and control characters; may be empty."""
        given = self.metadata.get("filename") or self.metadata.get("name") or ""
        base = re.split(r"[/\\]", given)[-1]
        return _UNSAFE.sub("\ufffd", base).strip()[:_MAX_NAME]

    @property
    def media_type(self) -> str:
        """The type the client gave, if it has the form of one; never to be trusted."""
        given = self.metadata.get("filetype") or self.metadata.get("type") or ""
        bare = given.split(";")[0].strip()
        return bare.lower() if _MEDIA_TYPE.fullmatch(bare) else "application/octet-stream"


@dataclass(frozen=True)
class Upload:
    """One upload as it stands on the disk."""

    id: str
    length: int | None
    """Bytes of the whole; None while the client does not know."""
    offset: int
    """Bytes that are here for good."""
    filename: str
    """As the client named it, without folders; for display only, may be empty."""
    media_type: str
    """As the client claims, application/octet-stream otherwise; never to be trusted."""
    metadata: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None
    """When it will be removed; None once a job has claimed it."""
    sha256: str | None
    """Hexadecimal, of the whole content; None until the last byte is here."""
    claimed: bool

    @property
    def sealed(self) -> bool:
        """Complete: the content will never change again."""
        return self.sha256 is not None

    @classmethod
    def of(cls, upload_id: str, record: Record, offset: int, expires_at: float) -> "Upload":
        """The upload that `record` tells of; `expires_at` in seconds of the epoch."""
        expires = None if record.claimed else datetime.fromtimestamp(expires_at, UTC)
        return cls(
            id=upload_id,
            length=record.length,
            offset=offset,
            filename=record.filename,
            media_type=record.media_type,
            metadata=record.metadata,
            created_at=datetime.fromtimestamp(record.created_at, UTC),
            expires_at=expires,
            sha256=record.sha256,
            claimed=record.claimed,
        )


def folder_of(root: Path, upload_id: str) -> Path:
    """The folder of an existing upload. Raises NotFound, also for an id that is none."""
    if _ID.fullmatch(upload_id) is None or not (root / upload_id).is_dir():
        raise _not_found()
    return root / upload_id


def folders(root: Path) -> list[Path]:
    """Every folder in `root` that may be an upload's; what others put there is not."""
    return [path for path in root.iterdir() if _ID.fullmatch(path.name) and path.is_dir()]


def load(folder: Path) -> Record:
    """Read the record in `folder`. Raises NotFound where there is none, or an unreadable one."""
    try:
        return Record(**json.loads((folder / _INFO).read_bytes()))
    except FileNotFoundError:
        raise _not_found() from None
    except (ValueError, TypeError) as error:
        _log.error("the record of upload %s cannot be read: %s", folder.name, error)
        raise _not_found() from error


def save(folder: Path, record: Record) -> None:
    """Replace the record in `folder`: after a crash either the old or the new one is there."""
    fresh = folder / (_INFO + ".new")
    with disk_full_is_typed(), fresh.open("wb") as file:
        file.write(json.dumps(asdict(record)).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / _INFO)
    sync_folder(folder)


@contextmanager
def disk_full_is_typed() -> Iterator[None]:
    """Turn the system's ways of saying that the disk is full into OutOfResources."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise disk_full() from error
        raise


@contextmanager
def removed_is_typed() -> Iterator[None]:
    """Turn a missing file into NotFound: another process has removed the upload just now."""
    try:
        yield
    except FileNotFoundError:
        raise _not_found() from None


def disk_full() -> OutOfResources:
    """The error of a disk that takes no more."""
    return OutOfResources(
        "The disk of the server is full.", hint="What arrived is kept; go on later."
    )


def sync_folder(folder: Path) -> None:
    """Make the names inside `folder` survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def good_bytes(folder: Path, record: Record) -> int:
    """How many bytes of the content count."""
    with removed_is_typed():
        size = (folder / CONTENT).stat().st_size
    return size if record.unverified_from is None else min(size, record.unverified_from)


def remove(folder: Path) -> None:
    """Remove an upload; the record goes first, so a crash leaves no half upload that answers."""
    (folder / _INFO).unlink(missing_ok=True)
    with suppress(FileNotFoundError):  # another process is at it too, and one of us goes on
        shutil.rmtree(folder)


def _not_found() -> NotFound:
    return NotFound("There is no such upload.", hint="It may have expired; send the file again.")
