"""Recordings made by arithmetic, for tests that need no real speech."""

import io
import wave

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def wav(samples: NDArray[np.float64], rate: int = RATE) -> bytes:
    """A 16-bit mono WAV file of samples in [-1, 1], shape (n_samples,)."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def noise(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """White noise at about -26 dBFS."""
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * RATE))


def silence(seconds: float) -> NDArray[np.float64]:
    """Digital silence."""
    return np.zeros(int(seconds * RATE))


def tone(seconds: float, hertz: float = 440.0) -> NDArray[np.float64]:
    """A sine at -10 dBFS."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)
