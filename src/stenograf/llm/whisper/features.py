"""Log-mel features of windows, as Whisper was trained on them, in numpy.

Short-time spectra of 25 ms every 10 ms, mel bands after Slaney, log10, at most 8 below the
loudest, scaled to about -1 … 1. Frames of the padding behind a short window are not computed:
they are known.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.pcm import SAMPLE_RATE, Waveform

HOP = SAMPLE_RATE // 100
FFT = 400
POWER_FLOOR = np.float32(1e-10)
_LINEAR_HZ = 1000.0  # the mel scale is linear below, logarithmic above
_MELS_PER_LINEAR_HZ = 3 / 200
_MELS_PER_LOG_HZ = 27 / np.log(6.4)


class LogMel:
    """Makes features of shape (windows, `bands`, `frames`) float32; `frames` are of 10 ms."""

    def __init__(self, bands: int, frames: int) -> None:
        self.frames = frames
        self.bands = bands
        self._filters = mel_filters(bands)
        angles = 2 * np.pi * np.arange(FFT) / FFT
        self._hann = (0.5 - 0.5 * np.cos(angles)).astype(np.float32)

    @property
    def n_samples(self) -> int:
        """The longest window it takes."""
        return self.frames * HOP

    def __call__(self, windows: Sequence[Waveform]) -> NDArray[np.float32]:
        """Features of windows, each float32 (n_samples,), padded with silence."""
        features = np.empty((len(windows), self.bands, self.frames), dtype=np.float32)
        for target, window in zip(features, windows, strict=True):
            self._fill(target, window)
        return features

    def _fill(self, target: NDArray[np.float32], window: Waveform) -> None:
        half = FFT // 2
        frames = min(self.frames, -(-(window.shape[0] + half) // HOP) + 1)
        padded = np.zeros(self.n_samples + FFT, dtype=np.float32)
        padded[half : half + window.shape[0]] = window
        padded[:half] = padded[half + 1 : FFT + 1][::-1]
        padded[-half:] = padded[-FFT - 1 : -half - 1][::-1]
        stacked = np.lib.stride_tricks.sliding_window_view(padded, FFT)[: frames * HOP : HOP]
        spectra = np.fft.rfft(stacked * self._hann, axis=1)
        power = spectra.real**2 + spectra.imag**2
        target[:, :frames] = np.log10(np.maximum(self._filters @ power.T, POWER_FLOOR))
        target[:, frames:] = np.log10(POWER_FLOOR)
        np.maximum(target, target.max() - 8, out=target)
        target += 4
        target /= 4


def mel_filters(bands: int) -> NDArray[np.float32]:
    """Triangles between neighbouring mel points, each of area 1 Hz; float32, (bands, 201)."""
    bins_hz = np.arange(FFT // 2 + 1) * (SAMPLE_RATE / FFT)
    points_hz = _hertz(np.linspace(0.0, float(_mels(SAMPLE_RATE / 2)), bands + 2))
    low, centre, high = points_hz[:-2, None], points_hz[1:-1, None], points_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (high - low)), dtype=np.float32)


def _mels(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz * _MELS_PER_LINEAR_HZ
    return float(_LINEAR_HZ * _MELS_PER_LINEAR_HZ + np.log(hertz / _LINEAR_HZ) * _MELS_PER_LOG_HZ)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _LINEAR_HZ * _MELS_PER_LINEAR_HZ
    above = _LINEAR_HZ * np.exp((mels - knee) / _MELS_PER_LOG_HZ)
    return np.where(mels < knee, mels / _MELS_PER_LINEAR_HZ, above)
