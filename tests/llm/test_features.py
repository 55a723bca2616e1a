"""Log-mel features against transformers' extractor, for every length and number of bands."""

import numpy as np
import pytest
import soundfile
import torch
from tests.servers import SAMPLES
from transformers import WhisperFeatureExtractor

from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, Waveform
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.torch_features import TorchLogMel


def windows() -> dict[str, Waveform]:
    rng = np.random.default_rng(0)
    speech, _ = soundfile.read(SAMPLES / "monologue_ru.flac", dtype="float32")
    return {
        "one sample": np.ones(1, np.float32),
        "half a frame": rng.normal(0, 0.1, 199).astype(np.float32),
        "speech": speech[:100_001],
        "quiet noise": rng.normal(0, 1e-4, 16_000).astype(np.float32),
        "all but one frame": rng.normal(0, 0.1, MAX_WINDOW_SAMPLES - 100).astype(np.float32),
        "full": rng.normal(0, 0.1, MAX_WINDOW_SAMPLES).astype(np.float32),
    }


@pytest.mark.parametrize("bands", [80, 128])
def test_equal_those_of_transformers(bands: int) -> None:
    known = windows()
    ours = LogMel(bands, 3000)(list(known.values()))
    theirs = WhisperFeatureExtractor(feature_size=bands)(
        list(known.values()), sampling_rate=16_000, return_tensors="np"
    ).input_features
    assert ours.shape == theirs.shape
    for name, mine, reference in zip(known, ours, theirs, strict=True):
        assert np.abs(mine - reference).max() <= 1e-4, name


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ),
    ],
)
@pytest.mark.parametrize("bands", [80, 128])
def test_those_made_on_the_device_are_equal(bands: int, device: str) -> None:
    known = windows()
    make = TorchLogMel(bands, 3000, torch.device(device))
    for sounds in (list(known.values()), list(known.values())[1:3]):  # the second reuses memory
        found = make(sounds).cpu().numpy()
        assert np.abs(found - LogMel(bands, 3000)(sounds)).max() <= 1e-4
