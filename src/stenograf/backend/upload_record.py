"""What the disk knows of one upload: `<root>/<id>/content` and `<root>/<id>/info.json`."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stenograf.contract.errors import NotFound, OutOfResources

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

    def with_(self, **changes: Any) -> "Record":
        """A copy with some facts changed."""
        return replace(self, **changes)

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


def folder_of(root: Path, upload_id: str) -> Path:
    """The folder of an existing upload. Raises NotFound, also for an id that is none."""
    folder = root / upload_id if _ID.fullmatch(upload_id) else None
    if folder is None or not folder.is_dir():
        raise NotFound("There is no such upload.", hint="It may have expired; send the file again.")
    return folder


def load(folder: Path) -> Record:
    """Read the record in `folder`. Raises NotFound where there is none."""
    try:
        return Record(**json.loads((folder / _INFO).read_bytes()))
    except FileNotFoundError:
        raise NotFound("There is no such upload.") from None


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
    size = (folder / CONTENT).stat().st_size
    return size if record.unverified_from is None else min(size, record.unverified_from)


def remove(folder: Path) -> None:
    """Remove an upload; the record goes first, so a crash leaves no half upload that answers."""
    for name in (_INFO, _INFO + ".new", CONTENT):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
