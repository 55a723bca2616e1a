"""Sound that arrives as JSON numbers, piece by piece per user, spooled on disk until it is used."""

import hashlib
import secrets
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from stenograf.backend.filelock import FileLock
from stenograf.contract.errors import BadRequest, TooLarge

_READ_BYTES = 1024**2
_WAV_FLOAT = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MAX_WAV_BYTES = 2**32 - 64  # RIFF counts in 32 bits


class ChunkStore:
    """One growing float32 file per user; `take` empties it. A user idle for `ttl_s` is forgotten.

    Raises TooLarge where one user would exceed `max_bytes`.
    """

    def __init__(
        self, root: Path, *, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._max_bytes = min(max_bytes, _MAX_WAV_BYTES)
        self._ttl_s = ttl_s
        self._clock = clock
        # other processes have the same users
        self._lock = FileLock(root.with_name(f"{root.name}.lock"))

    def add(self, user_id: str, samples: NDArray[np.float32]) -> None:
        """Append float32 samples, shape (n,), any rate, to what the user has sent."""
        path = self._path(user_id)
        with self._lock:
            size = path.stat().st_size if path.exists() else 0
            if size + samples.nbytes > self._max_bytes:
                raise TooLarge(
                    f"More than {self._max_bytes} bytes of sound are waiting for this user_id.",
                    hint="Finish with sending=false, or upload files in chunks through /files.",
                )
            with path.open("ab") as file:
                file.write(samples.astype("<f4").tobytes())

    def scratch(self) -> IO[bytes]:
        """A nameless file beside the chunks, for a body that is still arriving."""
        return tempfile.TemporaryFile(dir=self._root)

    def take(self, user_id: str, sample_rate: int) -> tuple[Iterator[bytes], int]:
        """Everything the user has sent, as a float32 WAV file: its bytes, and how many.

        The user's next chunk starts anew at once. Raises BadRequest when nothing was sent.
        """
        path = self._path(user_id)
        with self._lock:
            if not path.exists() or path.stat().st_size == 0:
                raise BadRequest(
                    "No chunk was sent for this user_id.",
                    hint="Send chunks with sending=true first, then finish with sending=false.",
                    param="user_id",
                )
            mine = path.with_suffix(f".{secrets.token_hex(8)}.taken")
            path.rename(mine)
        n_bytes = mine.stat().st_size
        return _wav(mine, n_bytes, sample_rate), _WAV_FLOAT.size + n_bytes

    def expire(self) -> None:
        """Forget users who never finished."""
        with self._lock:
            for path in self._root.iterdir():
                if path.stat().st_mtime + self._ttl_s < self._clock():
                    path.unlink()

    def _path(self, user_id: str) -> Path:
        name = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
        return self._root / f"{name}.f32"


def _wav(path: Path, n_bytes: int, sample_rate: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield _WAV_FLOAT.pack(
                *(b"RIFF", _WAV_FLOAT.size - 8 + n_bytes, b"WAVE"),
                *(b"fmt ", 16, 3, 1, sample_rate, sample_rate * 4, 4, 32),
                *(b"data", n_bytes),
            )
            while block := file.read(_READ_BYTES):
                yield block
    finally:
        path.unlink(missing_ok=True)
