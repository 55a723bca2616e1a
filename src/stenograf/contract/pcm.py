"""PCM on the wire: a waveform is float32 mono at 16 kHz inside, little-endian s16 outside."""

import struct

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz; what Whisper was trained on
MAX_WINDOW_S = 30  # seconds in one forward pass of Whisper
MAX_WINDOW_SAMPLES = MAX_WINDOW_S * SAMPLE_RATE  # 480000

Waveform = NDArray[np.float32]
"""Mono sound: float32, shape ``(n_samples,)``, nominal range [-1, 1], 16 kHz."""

_FULL_SCALE = 32768.0
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_UNKNOWN_BYTES = 2**32 - 1  # what a RIFF header says of a stream that has no end yet


def to_s16(waveform: Waveform) -> bytes:
    """Round a waveform, shape (n_samples,), to little-endian s16; outside [-1, 1] it clips."""
    scaled = waveform * np.float32(_FULL_SCALE)  # a power of two: exact
    np.rint(scaled, out=scaled)
    np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled)
    return scaled.astype("<i2").tobytes()


def from_s16(body: bytes) -> Waveform:
    """Read little-endian s16 mono as float32, shape (n_samples,), in [-1, 1).

    An odd last byte is dropped.
    """
    usable = len(body) - len(body) % 2
    return np.frombuffer(body[:usable], dtype="<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def wav_bytes(waveform: Waveform, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Wrap a mono waveform, shape (n_samples,), as a 16-bit RIFF/WAVE file."""
    body = to_s16(waveform)
    header = _WAV_HEADER.pack(
        b"RIFF",
        36 + len(body),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        sample_rate,
        sample_rate * 2,
        2,
        16,
        b"data",
        len(body),
    )
    return header + body


def stream_header(sample_rate: int = SAMPLE_RATE) -> bytes:
    """The beginning of a RIFF/WAVE file of mono s16 whose length is not known yet."""
    return _WAV_HEADER.pack(
        *(b"RIFF", _UNKNOWN_BYTES, b"WAVE"),
        *(b"fmt ", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16),
        *(b"data", _UNKNOWN_BYTES),
    )
