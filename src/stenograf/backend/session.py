"""Sessions of browsers: a signed note that a key was shown, kept in a cookie.

EventSource, <audio> and download links cannot send a header, so a page shows the key once and the
browser carries this instead. The note names the key: a revoked key ends its sessions.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from stenograf.backend.filelock import FileLock

TTL_S = 30 * 24 * 3600
_SECRET_BYTES = 32
_TOKEN = re.compile(r"([A-Za-z0-9-]{1,40})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


class Sessions:
    """Signs and reads session tokens with one secret."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, key_id: str) -> str:
        """A token for the holder of a key; good for `TTL_S`."""
        note = f"{key_id}.{int(self._clock()) + TTL_S}"
        return f"{note}.{self._signature(note)}"

    def key_id(self, token: str) -> str | None:
        """Whose token this is; None if it is not ours or too old."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        key_id, expires, signature = match.groups()
        if not hmac.compare_digest(self._signature(f"{key_id}.{expires}"), signature):
            return None
        return key_id if int(expires) > self._clock() else None

    def _signature(self, note: str) -> str:
        mac = hmac.digest(self._secret, note.encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def secret_in(path: Path) -> bytes:
    """The secret kept in a file only its owner may read; made when it is not there yet."""
    with FileLock(path.with_suffix(".lock")):  # processes that begin together share one
        try:
            return _read(path)
        except (FileNotFoundError, ValueError, binascii.Error):
            _make(path)
            return _read(path)


def _make(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(_SECRET_BYTES).encode())
    fresh.replace(path)


def _read(path: Path) -> bytes:
    secret = bytes.fromhex(path.read_text("ascii"))
    if len(secret) != _SECRET_BYTES:
        raise ValueError("the secret is cut short")
    return secret
