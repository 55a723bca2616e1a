"""Whisper through transformers: any checkpoint of that family, on CPU or CUDA."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.utils import logging as transformers_logging

from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Segment, Warning
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    Stop,
    WindowResult,
    is_silent,
    never,
    silent_result,
)
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.models import Report
from stenograf.llm.whisper import ladder
from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.decoder import Sound, listen
from stenograf.llm.whisper.hardware import available_cores, choose_device, choose_dtype
from stenograf.llm.whisper.hub import locate
from stenograf.llm.whisper.loading import (
    feature_extractor,
    load_heads,
    load_vocabulary,
    load_weights,
)
from stenograf.llm.whisper.phrases import compression_ratio, phrases
from stenograf.llm.whisper.reader import Reader
from stenograf.llm.whisper.search import Hypothesis
from stenograf.llm.whisper.vocabulary import Vocabulary
from stenograf.llm.whisper.words import time_words

logger = logging.getLogger(__name__)

EMBEDDED = "whisper-demo-ru"


class HfWhisper:
    """An `Engine` over a loaded transformers model."""

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        features: WhisperFeatureExtractor,
        vocabulary: Vocabulary,
        heads: Heads,
        capabilities: Capabilities,
        *,
        knows_timestamps: bool,
    ) -> None:
        self.capabilities = capabilities
        self._model = model
        self._features = features
        self._vocabulary = vocabulary
        self._heads = heads
        self._knows_timestamps = knows_timestamps
        self._max_tokens = int(model.config.max_target_positions)

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        self.capabilities.check(options.decode)
        for window in windows:
            self.capabilities.check_window(window)
        default = options.decode.language
        results = [silent_result(_spoken(default), window.shape[0]) for window in windows]
        heard = [i for i, window in enumerate(windows) if not is_silent(window)]
        if heard:
            with torch.inference_mode():
                found = self._recognize([windows[i] for i in heard], options, stop)
            for i, result in zip(heard, found, strict=True):
                results[i] = result
        return results

    def close(self) -> None:
        """Give the weights' memory back."""
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _recognize(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop
    ) -> list[WindowResult]:
        sound = listen(self._model, self._log_mel(windows))
        reader = Reader(
            sound,
            self._vocabulary,
            options.decode,
            self._max_tokens,
            [window.shape[0] for window in windows],
            stop,
        )
        readings = ladder.climb(
            len(windows),
            ladder.rungs(options.decode.temperature, plain_first=not self._knows_timestamps),
            reader.read,
            ladder.Judge(
                options.guard, self._vocabulary, empty_is_doubtful=not self._knows_timestamps
            ),
            reader.no_speech,
        )
        return [
            self._result(sound, i, window, reading, reader, options)
            for i, (window, reading) in enumerate(zip(windows, readings, strict=True))
        ]

    def _log_mel(self, windows: Sequence[Waveform]) -> torch.Tensor:
        """Log-mel features, (windows, mels, frames), padded to the encoder's length."""
        features = self._features(
            [np.ascontiguousarray(window, dtype=np.float32) for window in windows],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
        ).input_features
        moved: torch.Tensor = features.to(self._model.device, self._model.dtype)
        return moved

    def _result(
        self,
        sound: Sound,
        index: int,
        window: Waveform,
        reading: ladder.Reading,
        reader: Reader,
        options: EngineOptions,
    ) -> WindowResult:
        language, no_speech = reader.languages[index], reader.no_speech[index]
        hypothesis, n_samples = reading.hypothesis, window.shape[0]
        found = phrases(hypothesis.tokens, hypothesis.logprobs, self._vocabulary, n_samples)
        warnings = _warnings(hypothesis, self._vocabulary, n_samples)
        doubtful = hypothesis.avg_logprob < options.guard.logprob_threshold
        if found and doubtful and no_speech > options.guard.no_speech_threshold:
            text = self._vocabulary.text(hypothesis.tokens).strip()
            warnings.append(_warning("no_speech", "No speech was heard.", n_samples, text))
            found = []
        timed: list[Any] = [()] * len(found)
        if found and options.decode.word_timestamps:
            prefix = self._vocabulary.prefix(language, options.decode.task, timestamps=False)
            timed = time_words(
                sound, index, window, found, self._vocabulary, self._heads, prefix, language
            )
        segments = []
        for phrase, words in zip(found, timed, strict=True):
            plain = not reading.rung.timestamps and words
            text = self._vocabulary.text(phrase.tokens)
            segments.append(
                Segment(
                    start=words[0].start if plain else phrase.start,
                    end=words[-1].end if plain else phrase.end,
                    text=text,
                    words=words,
                    tokens=phrase.tokens,
                    avg_logprob=phrase.avg_logprob,
                    no_speech_prob=no_speech,
                    compression_ratio=compression_ratio(text),
                    temperature=hypothesis.temperature,
                )
            )
        return WindowResult(
            language=language,
            language_probability=reader.language_probabilities[index],
            no_speech_prob=no_speech,
            segments=tuple(segments),
            warnings=tuple(warnings),
        )


def _spoken(language: str) -> str:
    """The language to name where nothing was said."""
    return "ru" if language == "auto" else language


def _warnings(hypothesis: Hypothesis, vocabulary: Vocabulary, n_samples: int) -> list[Warning]:
    text = vocabulary.text(hypothesis.loop).strip()
    if not text:
        return []
    return [_warning("repetition_removed", "A repetition loop was cut off.", n_samples, text)]


def _warning(code: str, message: str, n_samples: int, text: str) -> Warning:
    return Warning(code=code, message=message, start=0, end=n_samples, text=text)


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
    checkpoint = open_checkpoint(folder, settings.data_dir / "converted_models")
    report(0.92, "Reading the weights.")
    vocabulary = load_vocabulary(checkpoint)
    model = load_weights(checkpoint, device, dtype)
    features = feature_extractor(checkpoint)
    capabilities = Capabilities(
        model=_served_name(settings.model),
        languages=tuple(vocabulary.languages) or ("en",),
        tasks=tuple(vocabulary.tasks),
        max_window_samples=int(features.n_samples),
        embedded=folder.name == EMBEDDED,
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
    )
    return HfWhisper(
        model,
        features,
        vocabulary,
        load_heads(checkpoint, vocabulary),
        capabilities,
        knows_timestamps=checkpoint.knows_timestamps,
    )


def _served_name(model: str) -> str:
    """A folder goes by its own name, a hub id by the whole of it."""
    return Path(model).expanduser().resolve().name if Path(model).expanduser().is_dir() else model
