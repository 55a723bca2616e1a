"""Files on their way to the backend: tus 1.0, resumed after any interruption."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import requests

from stenograf.contract.errors import (
    Gone,
    Locked,
    NetworkTimeout,
    NotFound,
    OffsetMismatch,
    StenografError,
    TooLarge,
    Unauthorized,
    Unavailable,
    by_code,
)

PART_BYTES = 32 * 1024**2  # one PATCH; the server makes what it got durable after each
_BLOCK_BYTES = 64 * 1024
_TIMEOUTS_S = (3.0, 60.0)  # to connect, and between two bytes
_TUS = {"Tus-Resumable": "1.0.0"}
_BY_STATUS: dict[int, type[StenografError]] = {
    401: Unauthorized,
    404: NotFound,
    409: OffsetMismatch,
    410: Gone,
    413: TooLarge,
    423: Locked,
}  # an answer to HEAD has no body that could say more

OnBytes = Callable[[int, int], None]
"""Called with bytes sent so far and bytes in all."""


def ignore(*_facts: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Sender:
    """Sends files to the backend at `endpoint`.

    `memory` is a folder in which unfinished uploads are remembered, so that the same file goes on
    where an earlier process stopped; None forgets them. A server that stays away is waited for
    `patience_s` after the last byte it took.
    """

    endpoint: str
    memory: Path | None = None
    patience_s: float = 60.0
    api_key: str = field(default="", repr=False)

    def send(self, path: Path, on_bytes: OnBytes = ignore) -> str:
        """Send a file and return the id of the finished upload.

        Raises OSError when the file cannot be read, Unavailable or NetworkTimeout when the server
        stays away, and what else the server says: TooLarge, Unauthorized, …
        """
        note = self._note(path)
        with path.open("rb") as file, requests.Session() as http:
            if self.api_key:
                http.headers["X-API-Key"] = self.api_key
            transfer = _Transfer(http, self.endpoint.rstrip("/"), file, on_bytes)
            upload_id = transfer.resume(note) or transfer.announce(path.name)
            _remember(note, upload_id)
            transfer.run(upload_id, self.patience_s)
        return upload_id

    def forget(self, path: Path) -> None:
        """Do not resume this file any more: its upload has served."""
        note = self._note(path)
        if note is not None:
            note.unlink(missing_ok=True)

    def _note(self, path: Path) -> Path | None:
        if self.memory is None:
            return None
        stat = path.stat()
        identity = f"{self.endpoint}\n{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
        return self.memory / hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()


class _Transfer:
    """One file over one connection pool."""

    def __init__(
        self, http: requests.Session, endpoint: str, file: BinaryIO, on_bytes: OnBytes
    ) -> None:
        self._http, self._files = http, f"{endpoint}/files"
        self._file, self._on_bytes = file, on_bytes
        self._total = file.seek(0, 2)

    def announce(self, name: str) -> str:
        encoded = base64.b64encode(name.encode("utf-8", "replace")).decode()
        metadata = {"Upload-Length": str(self._total), "Upload-Metadata": f"filename {encoded}"}
        location = self._call("POST", "", metadata).headers["Location"]
        return location.rstrip("/").rsplit("/", 1)[-1]

    def resume(self, note: Path | None) -> str | None:
        if note is None or not note.exists():
            return None
        upload_id = note.read_text(encoding="utf-8")
        try:
            self._offset(upload_id)
        except (NotFound, Gone):
            return None
        return upload_id

    def run(self, upload_id: str, patience_s: float) -> None:
        moved, pause_s, offset = time.monotonic(), 0.1, -1
        while offset < self._total:
            try:
                known = self._offset(upload_id)
                if known > offset:
                    moved, pause_s, offset = time.monotonic(), 0.1, known
                self._on_bytes(offset, self._total)
                while offset < self._total:
                    offset = self._send_part(upload_id, offset)
                    moved = time.monotonic()
            except (Unavailable, NetworkTimeout, Locked, OffsetMismatch):
                if time.monotonic() - moved > patience_s:
                    raise
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    def _offset(self, upload_id: str) -> int:
        return int(self._call("HEAD", f"/{upload_id}", {}).headers["Upload-Offset"])

    def _send_part(self, upload_id: str, offset: int) -> int:
        length = min(PART_BYTES, self._total - offset)
        part = _Part(self._file, offset, length, lambda sent: self._on_bytes(sent, self._total))
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        try:
            answer = self._call("PATCH", f"/{upload_id}", headers, part)
        except Unavailable:
            if part.broken is not None:
                raise part.broken from None
            raise
        return int(answer.headers["Upload-Offset"])

    def _call(
        self, method: str, path: str, headers: dict[str, str], body: "_Part | None" = None
    ) -> requests.Response:
        try:
            response = self._http.request(
                method,
                self._files + path,
                headers=_TUS | headers,
                data=body,
                timeout=_TIMEOUTS_S,
                allow_redirects=False,
            )
        except requests.ReadTimeout as error:
            raise NetworkTimeout("The backend did not answer in time.") from error
        except requests.RequestException as error:
            raise Unavailable(f"The backend at {self._files} cannot be reached.") from error
        if not 200 <= response.status_code < 300:
            raise _error(response)
        return response


class _Part:
    """A stretch of a file as a request body that tells how far it was taken.

    `broken` keeps an OSError of the file itself: the HTTP library would call it a lost connection.
    """

    def __init__(
        self, file: BinaryIO, offset: int, length: int, on_sent: Callable[[int], None]
    ) -> None:
        self.broken: OSError | None = None
        self._file, self._on_sent = file, on_sent
        self._sent, self._end, self._length = offset, offset + length, length

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the stretch, `size` of them or what is left."""
        left = self._end - self._sent
        wanted = left if size < 0 else min(max(size, _BLOCK_BYTES), left)
        try:
            self._file.seek(self._sent)
            body = self._file.read(wanted)
            if len(body) < wanted:
                raise OSError("the file became shorter while it was being sent")
        except OSError as error:
            self.broken = error
            raise
        self._sent += len(body)
        self._on_sent(self._sent)
        return body

    def __iter__(self) -> Iterator[bytes]:
        while body := self.read(_BLOCK_BYTES):
            yield body


def _error(response: requests.Response) -> StenografError:
    status = response.status_code
    try:
        said = response.json()["error"]
        code, message, hint = str(said["code"]), str(said["message"]), said.get("hint")
    except (ValueError, KeyError, TypeError, AttributeError):
        kind = _BY_STATUS.get(status, Unavailable)
        return kind(f"The backend answered with HTTP status {status}.")
    return by_code(code)(message, hint=hint)


def _remember(note: Path | None, upload_id: str) -> None:
    if note is not None:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(upload_id, encoding="utf-8")
