"""Bytes as they come -> a waveform at 16 kHz that does not depend on how they were cut."""

import numpy as np
import soxr
from numpy.typing import NDArray

from stenograf.backend.realtime.config import AudioFormat
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, from_s16

_BLOCK_S = 0.02  # the resampler is always given as much: its rounding depends on it


class Inlet:
    """Reads one continuous stream of sound; for one thread at a time."""

    def __init__(self, format: AudioFormat) -> None:
        self._table = _TABLES.get(format.type)
        self._resampled = format.rate != SAMPLE_RATE
        self._rate = format.rate
        self._block = round(_BLOCK_S * format.rate)
        self._odd = b""
        self._waiting: Waveform = _NOTHING
        self._stream = self._new_stream()

    def feed(self, data: bytes) -> Waveform:
        """What can be said of the sound so far that was not returned yet, shape (n_samples,)."""
        sound = self._samples(data)
        if not self._resampled:
            return sound
        sound = np.concatenate((self._waiting, sound))
        whole = len(sound) - len(sound) % self._block
        self._waiting = sound[whole:]
        blocks = sound[:whole].reshape(-1, self._block)
        return np.concatenate(
            [_NOTHING, *(self._stream.resample_chunk(block) for block in blocks)], dtype=np.float32
        )

    def flush(self) -> Waveform:
        """The rest; what is fed from here on begins a new stream."""
        self._odd = b""
        if not self._resampled:
            return _NOTHING
        rest: Waveform = self._stream.resample_chunk(self._waiting, last=True)
        self._waiting, self._stream = _NOTHING, self._new_stream()
        return rest

    def _new_stream(self) -> soxr.ResampleStream:
        return soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def _samples(self, data: bytes) -> Waveform:
        if self._table is not None:
            return self._table[np.frombuffer(data, np.uint8)]
        data = self._odd + data
        even = len(data) - len(data) % 2
        self._odd = data[even:]
        return from_s16(data[:even])


def _ulaw() -> NDArray[np.float32]:
    """G.711 u-law: value of each byte, shape (256,)."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33
    return _signed(magnitude, code & 128 != 0, 4)


def _alaw() -> NDArray[np.float32]:
    """G.711 A-law: value of each byte, shape (256,)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    straight = 2 * mantissa + 1
    magnitude = np.where(exponent == 0, straight, (straight + 32) << np.maximum(exponent, 1) - 1)
    return _signed(magnitude, code & 128 == 0, 8)


def _signed(
    magnitude: NDArray[np.int32], negative: NDArray[np.bool_], scale: int
) -> NDArray[np.float32]:
    return (np.where(negative, -magnitude, magnitude) * scale / 32768).astype(np.float32)


_NOTHING: Waveform = np.zeros(0, np.float32)
_TABLES = {"audio/pcmu": _ulaw(), "audio/pcma": _alaw()}
