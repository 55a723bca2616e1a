"""A spool that is read while the decoder still writes it."""

import os
import threading
from collections.abc import Iterator

from stenograf.audio.spool import BLOCK_SAMPLES, SAMPLE_BYTES, Spool
from stenograf.contract.pcm import Waveform


class GrowingSpool(Spool):
    """Only what the writer has reported is ever read; `n_samples` counts that.

    The writer calls `begin`, then `grown` as often as it likes, then `end` or `fail`; whoever reads
    `blocks` waits for it.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self.n_samples = 0

    def begin(self, fd: int) -> None:
        """The spool's descriptor; the writer may close its own."""
        self._fd = os.dup(fd)

    def grown(self, n_samples: int) -> None:
        """So many samples are written by now."""
        written = os.fstat(self._fd).st_size // SAMPLE_BYTES  # the report may come from a stranger
        with self._changed:
            self.n_samples = max(self.n_samples, min(n_samples, written))
            self._changed.notify_all()

    def end(self, n_samples: int) -> None:
        """The recording is complete."""
        with self._changed:
            self.n_samples = n_samples
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Nothing more will come; who reads on meets `error`."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def blocks(self, block_samples: int = BLOCK_SAMPLES) -> Iterator[Waveform]:
        """The whole recording in order, as it is written, at most `block_samples` at a time.

        Raises what the writer failed with, also before everything written is read.
        """
        start = 0
        while (end := min(self._beyond(start), start + block_samples)) > start:
            yield self.read(start, end)
            start = end

    def _beyond(self, start: int) -> int:
        """How far the recording can be read, once that is behind `start` or it has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.n_samples > start or self._ended or self._error is not None
            )
            if self._error is not None:
                raise self._error
            return self.n_samples
