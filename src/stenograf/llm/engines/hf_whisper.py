"""Whisper through transformers: any checkpoint of that family, on CPU or CUDA."""

from collections.abc import Sequence

import torch
from transformers import WhisperForConditionalGeneration
from transformers.utils import logging as transformers_logging

from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import Capabilities, EngineOptions, Stop, WindowResult, never
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.models import Report
from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.decoder import listen
from stenograf.llm.whisper.driver import WhisperEngine
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.hardware import available_cores, choose_device, choose_dtype
from stenograf.llm.whisper.hub import locate
from stenograf.llm.whisper.loading import (
    capabilities,
    load_heads,
    load_vocabulary,
    log_mel,
    open_source,
)
from stenograf.llm.whisper.reader import Reader
from stenograf.llm.whisper.torch_weights import load_weights
from stenograf.llm.whisper.vocabulary import Vocabulary


class HfWhisper(WhisperEngine):
    """An `Engine` over a loaded transformers model."""

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        features: LogMel,
        vocabulary: Vocabulary,
        heads: Heads,
        capabilities: Capabilities,
        *,
        knows_timestamps: bool,
    ) -> None:
        super().__init__(vocabulary, capabilities, knows_timestamps=knows_timestamps)
        self._model = model
        self._features = features
        self._heads = heads
        self._max_tokens = int(model.config.max_target_positions)

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        with torch.inference_mode():
            return super().transcribe(windows, options, stop)

    def hear(self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop) -> Reader:
        """See `WhisperEngine.hear`."""
        features = torch.from_numpy(self._features(windows))
        sound = listen(self._model, features.to(self._model.device, self._model.dtype))
        lengths = [window.shape[0] for window in windows]
        return Reader(
            sound, self._vocabulary, self._heads, options.decode, self._max_tokens, lengths, stop
        )

    def close(self) -> None:
        """Give the weights' memory back."""
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_hf_whisper(settings: EngineSettings, report: Report) -> HfWhisper:
    """Find, complete and load the checkpoint that the settings name.

    Raises StenografError in words for whoever set LOCAL_LLM_MODEL, TORCH_DTYPE or DEVICE.
    """
    torch.set_num_threads(settings.threads or available_cores())
    transformers_logging.disable_progress_bar()
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    folder = locate(settings.model, settings.hf_home / "hub", report)
    report(0.9, "Checking the model's files.")
    checkpoint = open_source(settings, folder)
    report(0.92, "Reading the weights.")
    vocabulary = load_vocabulary(checkpoint)
    model = load_weights(checkpoint, device, dtype)
    features = log_mel(checkpoint)
    known = capabilities(
        settings,
        folder,
        vocabulary,
        features,
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
    )
    return HfWhisper(
        model,
        features,
        vocabulary,
        load_heads(checkpoint, vocabulary),
        known,
        knows_timestamps=checkpoint.knows_timestamps,
    )
