"""Whisper's log-mel features for windows of any length up to 30 s.

A window shorter than 30 s gets the very values that `WhisperFeatureExtractor` gives its first
frames after padding to 30 s (the floor 8 below the maximum does not depend on zero padding).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import WhisperFeatureExtractor

_HOP = 160
_FFT = 400
_extractor = WhisperFeatureExtractor()
_FILTERS = torch.from_numpy(np.asarray(_extractor.mel_filters, np.float32)).T.contiguous()
_HANN = torch.hann_window(_FFT)


def log_mel(wave: npt.NDArray[np.float32]) -> Tensor:
    """Return features, shape (80, n_samples // 160), float32, about [-1, 1.5]."""
    padded = torch.from_numpy(np.concatenate([wave, np.zeros(_FFT, np.float32)]))
    spectrum = torch.stft(padded, _FFT, _HOP, window=_HANN, return_complex=True)
    power = spectrum[:, : len(wave) // _HOP].abs() ** 2
    log = (_FILTERS @ power).clamp(min=1e-10).log10()
    log = torch.maximum(log, log.max() - 8.0)
    return (log + 4.0) / 4.0
