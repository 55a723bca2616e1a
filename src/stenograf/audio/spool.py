"""The decoded recording on disk: raw little-endian float32, mono, 16 kHz, nothing else.

An hour takes 230 MB of disk and no memory: pieces are read with `pread`, so the resident set does
not grow with what was looked at, as it would with a memory map.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from stenograf.contract.pcm import Waveform

SAMPLE_BYTES = 4
BLOCK_SAMPLES = 2**17  # 8.2 s: what voice detection takes at a time

_DTYPE = np.dtype("<f4")


class Spool:
    """A finished spool, open for reading; many threads may read one at the same time.

    Raises FileNotFoundError where there is none, ValueError where the file does not hold a whole
    number of samples.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(self._fd).st_size
        if size % SAMPLE_BYTES:
            self.close()
            raise ValueError(f"{path} is not a spool: {size} bytes are not whole samples")
        self.n_samples = size // SAMPLE_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, start: int, end: int) -> Waveform:
        """Samples `start` up to `end`, shape (end - start,); what lies outside the file is left
        out."""
        start, end = max(0, start), min(end, self.n_samples)
        if end <= start:
            return np.zeros(0, np.float32)
        waveform = np.empty(end - start, _DTYPE)
        view = waveform.view(np.uint8).data
        done = 0
        while done < len(view):
            got = os.preadv(self._fd, [view[done:]], start * SAMPLE_BYTES + done)
            if not got:
                raise OSError(f"the spool ends {len(view) - done} bytes early")
            done += got
        return waveform.astype(np.float32, copy=False)

    def blocks(self, block_samples: int = BLOCK_SAMPLES) -> Iterator[Waveform]:
        """The whole recording in order, `block_samples` at a time, the last block shorter."""
        for start in range(0, self.n_samples, block_samples):
            yield self.read(start, start + block_samples)


class SpoolWriter:
    """Appends blocks to an open file descriptor and counts what it wrote."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.n_samples = 0

    def append(self, block: Waveform) -> None:
        """Write a block, shape (n_samples,); OSError where the disk or a limit says no."""
        view = np.ascontiguousarray(block, _DTYPE).view(np.uint8).data
        while len(view):
            view = view[os.write(self._fd, view) :]
        self.n_samples += len(block)
