"""The drawn waveform: extremes per bucket, in bounded memory whatever the length."""

from typing import NamedTuple

import numpy as np

from stenograf.contract.pcm import Waveform

MAX_BUCKETS = 2000
_FINE_SAMPLES = 64  # every bucket is this times a power of two


class Envelope(NamedTuple):
    """Extremes of each bucket, shape (n_buckets,), n_buckets <= MAX_BUCKETS."""

    bucket_samples: int
    minimum: Waveform
    maximum: Waveform


class EnvelopeMeter:
    """Collects extremes; when the buckets run out, neighbours are joined and buckets double.

    Buckets are aligned to the start of the recording, so the blocks do not show in the result.
    """

    def __init__(self) -> None:
        self._bucket_samples = _FINE_SAMPLES
        self._minimum = np.zeros(0, np.float32)
        self._maximum = np.zeros(0, np.float32)
        self._filled = 0  # samples in the last bucket; 0 where it is complete

    def add(self, block: Waveform) -> None:
        """Take in a block, float32, shape (n_samples,)."""
        head = min(len(block), -self._filled % self._bucket_samples)
        if head:
            self._minimum[-1] = min(self._minimum[-1], block[:head].min())
            self._maximum[-1] = max(self._maximum[-1], block[:head].max())
            self._filled = (self._filled + head) % self._bucket_samples
        block = block[head:]
        if len(block):
            starts = np.arange(0, len(block), self._bucket_samples)
            self._minimum = np.append(self._minimum, np.minimum.reduceat(block, starts))
            self._maximum = np.append(self._maximum, np.maximum.reduceat(block, starts))
            self._filled = len(block) % self._bucket_samples
        while len(self._minimum) > MAX_BUCKETS:
            self._double()

    @property
    def envelope(self) -> Envelope:
        """Extremes of everything added so far."""
        return Envelope(self._bucket_samples, self._minimum.copy(), self._maximum.copy())

    def _double(self) -> None:
        pairs = np.arange(0, len(self._minimum), 2)
        whole_pairs = len(self._minimum) % 2 == 0
        if whole_pairs and self._filled:
            self._filled += self._bucket_samples
        elif not whole_pairs:
            self._filled = self._filled or self._bucket_samples
        self._minimum = np.minimum.reduceat(self._minimum, pairs)
        self._maximum = np.maximum.reduceat(self._maximum, pairs)
        self._bucket_samples *= 2
