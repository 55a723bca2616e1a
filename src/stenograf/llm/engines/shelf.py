"""Windows on their way to another process: they lie in a file that both have open.

A pipe would take them in hundreds of pieces, each with a change of process.
"""

import os
import weakref
from collections.abc import Sequence

import numpy as np

from stenograf.contract.pcm import Waveform
from stenograf.scratch import open_scratch, read_whole, write_whole

_SAMPLE_BYTES = 4


class Shelf:
    """Holds one batch at a time. The other process makes a `Shelf` of the same descriptor."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = open_scratch() if fd is None else fd
        # Not earlier: another thread may use it until then, and numbers are given again.
        weakref.finalize(self, os.close, self.fd)

    def put(self, windows: Sequence[Waveform]) -> list[int]:
        """Lay windows, float32 (n_samples,) each, in place of the last batch; gives their lengths.

        Raises OSError where memory runs out.
        """
        offset = 0
        for window in windows:
            data = np.ascontiguousarray(window, np.float32).view(np.uint8).data
            write_whole(self.fd, data, offset)
            offset += len(data)
        return [len(window) for window in windows]

    def take(self, lengths: Sequence[int]) -> list[Waveform]:
        """The batch whose windows have these lengths, in samples."""
        windows: list[Waveform] = []
        offset = 0
        for length in lengths:
            window = np.empty(length, np.float32)
            read_whole(self.fd, window.view(np.uint8).data, offset)
            windows.append(window)
            offset += length * _SAMPLE_BYTES
        return windows

    def clear(self) -> None:
        """Give the memory back."""
        os.ftruncate(self.fd, 0)
