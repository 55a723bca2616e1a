"""The log-mel features of `features.py` where the model is: waveforms go over, spectra do not.

Windows are laid side by side in page-locked memory and cross to the device in one copy that the
host does not wait for.
"""

from collections.abc import Sequence

import numpy as np
import torch

from stenograf.contract.pcm import Waveform
from stenograf.llm.whisper.features import FFT, HOP, POWER_FLOOR, mel_filters


class TorchLogMel:
    """Makes features of shape (windows, `bands`, `frames`) float32 on `device`."""

    def __init__(self, bands: int, frames: int, device: torch.device) -> None:
        self._n_samples = frames * HOP
        self._device = device
        self._filters = torch.from_numpy(mel_filters(bands)).to(device)
        self._hann = torch.hann_window(FFT, periodic=True, dtype=torch.float32, device=device)
        self._staged = torch.empty((0, self._n_samples))

    def __call__(self, windows: Sequence[Waveform]) -> torch.Tensor:
        """Features of windows, each float32 (n_samples,), padded with silence."""
        # matrix products in less than float32 would be heard: the spectrum spans 80 dB
        spectra = torch.stft(self._sent(windows), FFT, HOP, window=self._hann, return_complex=True)[
            ..., :-1
        ]
        power = spectra.real.square() + spectra.imag.square()
        features = torch.clamp(self._filters @ power, min=float(POWER_FLOOR)).log10()
        loudest = features.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(features, loudest - 8) + 4) / 4

    def _sent(self, windows: Sequence[Waveform]) -> torch.Tensor:
        """The windows on the device, (windows, n_samples). The next call reuses the memory that
        they leave from, so the device must have taken this batch by then: whoever has its text
        knows that it has."""
        if self._staged.shape[0] < len(windows):
            pinned = self._device.type == "cuda"
            self._staged = torch.empty((len(windows), self._n_samples), pin_memory=pinned)
        staged = self._staged[: len(windows)]
        for target, window in zip(staged.numpy(), windows, strict=True):
            target[: window.shape[0]] = window
            target[window.shape[0] :] = np.float32(0)
        return staged.to(self._device, non_blocking=True)
