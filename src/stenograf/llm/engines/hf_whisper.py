"""Whisper through transformers: any checkpoint of that family, on CPU or CUDA."""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import WhisperForConditionalGeneration
from transformers.utils import logging as transformers_logging

from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import Capabilities, EngineOptions, Stop, WindowResult, never
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.failures import as_ours, memory_ran_out
from stenograf.llm.models import Report
from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.decoder import TorchSound, listen
from stenograf.llm.whisper.driver import WhisperEngine
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.graphs import CudaRecorder, Graphs, Recorder
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
from stenograf.llm.whisper.static_decoder import StaticDecoder, shapes_for
from stenograf.llm.whisper.static_sound import StaticSound
from stenograf.llm.whisper.tape import TapeRecorder
from stenograf.llm.whisper.torch_features import TorchLogMel
from stenograf.llm.whisper.torch_search import TorchSearch
from stenograf.llm.whisper.torch_weights import load_weights
from stenograf.llm.whisper.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

Features = Callable[[Sequence[Waveform]], torch.Tensor]
"""Log-mel features, (windows, bands, frames), on any device."""

_LOOK_EVERY = 8  # steps of a GPU between two looks of the host; on a CPU each is looked at
_WARM_WINDOWS = (1, 2, 4, 8, 16)  # batch sizes that are ready before the first caller


@dataclass(frozen=True)
class Ways:
    """How the work is laid out; each costs or saves time, none changes the text."""

    features_on_device: bool
    constant_shapes: bool
    recorded: bool


def best_ways(device: torch.device, *, cuda_graphs: bool = True) -> Ways:
    """What suits a device, as far as was measured (docs/performance.md)."""
    on_gpu = device.type == "cuda"
    return Ways(features_on_device=on_gpu, constant_shapes=on_gpu, recorded=on_gpu and cuda_graphs)


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
        ways: Ways | None = None,
    ) -> None:
        super().__init__(vocabulary, capabilities, knows_timestamps=knows_timestamps)
        ways = ways or best_ways(model.device)
        self._model = model
        self._features: Features = (
            TorchLogMel(features.bands, features.frames, model.device)
            if ways.features_on_device
            else lambda windows: torch.from_numpy(features(windows))
        )
        self._heads = heads
        self._max_tokens = int(model.config.max_target_positions)
        self._ways = ways
        self._decoder: StaticDecoder | None
        self._search: TorchSearch | None
        self._decoder, self._search = self._make_search()

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        try:
            with torch.inference_mode():
                return super().transcribe(windows, options, stop)
        except Exception as exc:
            if not memory_ran_out(exc):
                raise
            failure = as_ours(exc)
        # here nothing holds the tensors of the failed batch any more: what is smaller may fit
        self._give_back()
        raise failure

    def hear(self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop) -> Reader:
        """See `WhisperEngine.hear`."""
        features = self._features(windows).to(self._model.device, self._model.dtype)
        sound: TorchSound | StaticSound
        if self._decoder is None or self._search is None:
            sound = listen(self._model, features)
        else:
            self._search.hear(self._model.model.encoder(features).last_hidden_state)
            sound = StaticSound(self._model, self._decoder.sound, len(windows))
        lengths = [window.shape[0] for window in windows]
        return Reader(
            sound,
            self._vocabulary,
            self._heads,
            options.decode,
            self._max_tokens,
            lengths,
            stop,
            self._search,
        )

    def prepare(self, report: Report) -> None:
        """Record the decoding steps of the usual batch sizes, so that no caller waits for it."""
        if not self._ways.recorded:
            return
        for number, windows in enumerate(reversed(_WARM_WINDOWS)):  # the largest takes the memory
            report(0.93 + 0.03 * number / len(_WARM_WINDOWS), "Recording the decoder's steps.")
            try:
                self._record(windows)
            except Exception as exc:
                if not memory_ran_out(exc):
                    raise
            else:
                continue
            logger.warning("no memory for batches of %d windows", windows)
            self._give_back()

    def _record(self, windows: int) -> None:
        if self._search is not None:
            config = self._model.config
            shape = (windows, int(config.max_source_positions), int(config.d_model))
            with torch.inference_mode():
                silence = torch.zeros(shape, dtype=self._model.dtype, device=self._model.device)
                self._search.hear(silence)
                self._search.try_out(windows)

    def _make_search(self) -> tuple[StaticDecoder, TorchSearch] | tuple[None, None]:
        if not self._ways.constant_shapes:
            return None, None
        device = self._model.device
        decoder = StaticDecoder(self._model, shapes_for(device, self._max_tokens))
        graphs = Graphs(_recorder(device) if self._ways.recorded else None)
        steps = 1 if device.type == "cpu" else _LOOK_EVERY
        return decoder, TorchSearch(decoder, self._vocabulary, graphs, steps)

    def _give_back(self) -> None:
        """Give back whatever a batch took; the next takes what it needs."""
        self._decoder = self._search = None
        _empty_cache()
        self._decoder, self._search = self._make_search()

    def close(self) -> None:
        """Give the weights' memory back."""
        self._decoder = self._search = None
        del self._model
        _empty_cache()


def _recorder(device: torch.device) -> Recorder:
    return CudaRecorder(device) if device.type == "cuda" else TapeRecorder()


def _empty_cache() -> None:
    gc.collect()  # recordings and what they refer to may go in circles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_hf_whisper(
    settings: EngineSettings, report: Report, ways: Ways | None = None
) -> HfWhisper:
    """Find, complete and load the checkpoint that the settings name.

    `ways` is another layout of the work than what suits the device. Raises StenografError in words
    for whoever set LOCAL_LLM_MODEL, TORCH_DTYPE or DEVICE.
    """
    torch.set_num_threads(settings.threads or available_cores())
    transformers_logging.disable_progress_bar()
    device = choose_device(settings.device)
    folder = locate(settings.model, settings.hf_home / "hub", report)
    report(0.9, "Checking the model's files.")
    checkpoint = open_source(settings, folder)
    dtype = choose_dtype(settings.dtype, device, checkpoint.dtype)
    if dtype == torch.float32:  # who asks for it on a GPU gets no shorter products
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
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
    engine = HfWhisper(
        model,
        features,
        vocabulary,
        load_heads(checkpoint, vocabulary),
        known,
        knows_timestamps=checkpoint.knows_timestamps,
        ways=ways or best_ways(device, cuda_graphs=settings.cuda_graphs),
    )
    engine.prepare(report)
    return engine
