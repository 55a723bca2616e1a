"""Whisper through transformers: any checkpoint of that family, on CPU or CUDA."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.utils import logging as transformers_logging

from stenograf.contract.errors import ModelNotFound, StenografError
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
from stenograf.llm.whisper.alignment_heads import Heads, alignment_heads
from stenograf.llm.whisper.checkpoint import Checkpoint, open_checkpoint
from stenograf.llm.whisper.decoder import Sound, listen
from stenograf.llm.whisper.hub import locate
from stenograf.llm.whisper.phrases import STEP_SAMPLES, compression_ratio, phrases
from stenograf.llm.whisper.rules import STEP_S, LogitRules
from stenograf.llm.whisper.search import Hypothesis, Task, beam_search, sample
from stenograf.llm.whisper.vocabulary import Vocabulary, build_vocabulary
from stenograf.llm.whisper.words import time_words

logger = logging.getLogger(__name__)

EMBEDDED = "whisper-demo-ru"

_TOKENS_AT_LEAST = 50
_TOKENS_PER_SECOND = 25  # twice the fastest Russian, timestamps included


class HfTokenizer:
    """transformers' tokenizer reduced to `whisper.vocabulary.Tokenizer`."""

    def __init__(self, folder: Path) -> None:
        self._backend = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
        self._vocab: dict[str, int] = dict(self._backend.get_vocab())

    def get_vocab(self) -> dict[str, int]:
        """See `Tokenizer.get_vocab`."""
        return self._vocab

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._backend.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        text: str = self._backend.backend_tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


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
        reader = _Reader(sound, self._vocabulary, options, self._max_tokens, windows, stop)
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
        reader: "_Reader",
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
                sound, index, n_samples, found, self._vocabulary, self._heads, prefix, language
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


class _Reader:
    """Reads the windows of one batch: language and no-speech once, text once per rung."""

    def __init__(
        self,
        sound: Sound,
        vocabulary: Vocabulary,
        options: EngineOptions,
        max_tokens: int,
        windows: Sequence[Waveform],
        stop: Stop,
    ) -> None:
        self._sound = sound
        self._vocabulary = vocabulary
        self._decode = options.decode
        self._stop = stop
        self._max_tokens = max_tokens
        self._prompt = vocabulary.prompt(options.decode.prompt, max_tokens // 2 - 1)
        self._last_steps = [-(-window.shape[0] // STEP_SAMPLES) for window in windows]
        self.languages: list[str] = []
        self.language_probabilities: list[float | None] = []
        self.no_speech: list[float] = []
        self._first_impression(len(windows))

    def read(self, windows: Sequence[int], rung: ladder.Rung) -> list[Hypothesis]:
        """See `ladder.Decode`."""
        prefixes = [
            [
                *self._prompt,
                *self._vocabulary.prefix(
                    self.languages[i], self._decode.task, timestamps=rung.timestamps
                ),
            ]
            for i in windows
        ]
        rules = LogitRules(
            self._vocabulary,
            self._last_steps,
            timestamps=rung.timestamps,
            device=self._sound.device,
        )
        room = [self._room(i, len(prefixes[0])) for i in windows]
        task = Task(windows, prefixes, self._vocabulary.end, room)
        if rung.temperature == 0 and self._decode.beam_size > 1:
            return beam_search(self._sound, task, rules, self._decode.beam_size, self._stop)
        return sample(self._sound, task, rules, rung.temperature, self._stop)

    def _room(self, window: int, prefix: int) -> int:
        """Tokens that the window's text may take: nobody says more in its time."""
        seconds = self._last_steps[window] * STEP_S
        enough = _TOKENS_AT_LEAST + round(seconds * _TOKENS_PER_SECOND)
        return min(self._max_tokens - prefix, enough)

    def _first_impression(self, windows: int) -> None:
        """What the model expects after its start token alone: no speech, or which language."""
        start = torch.full((windows, 1), self._vocabulary.start, device=self._sound.device)
        logits = self._sound.steps(range(windows)).feed(start)
        chances = torch.softmax(logits, dim=-1)
        self.no_speech = chances[:, self._vocabulary.no_speech].tolist()
        if self._decode.language != "auto" or not self._vocabulary.languages:
            language = "en" if self._decode.language == "auto" else self._decode.language
            self.languages = [language] * windows
            self.language_probabilities = [None] * windows
            return
        codes = list(self._vocabulary.languages)
        ids = list(self._vocabulary.languages.values())
        best = torch.softmax(logits[:, ids], dim=-1).max(dim=-1)
        self.languages = [codes[i] for i in best.indices.tolist()]
        self.language_probabilities = list(best.values.tolist())


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
    device = _device(settings.device)
    dtype = _dtype(settings.dtype, device)
    folder = locate(settings.model, settings.hf_home / "hub", report)
    report(0.9, "Checking the model's files.")
    checkpoint = open_checkpoint(folder, settings.data_dir / "converted_models")
    report(0.92, "Reading the weights.")
    vocabulary = _vocabulary(checkpoint)
    model = _weights(checkpoint, device, dtype)
    features = _feature_extractor(checkpoint)
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
        _heads(checkpoint, vocabulary),
        capabilities,
        knows_timestamps=checkpoint.knows_timestamps,
    )


def available_cores() -> int:
    """Cores this process may use: its affinity, and the CPU quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass  # no cgroup 2, or "max": no quota
    return cores


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StenografError(
            f"DEVICE is {name}, but PyTorch sees {torch.cuda.device_count()} CUDA devices.",
            hint="Set DEVICE=cpu or auto, or install a CUDA build of PyTorch and the driver.",
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _served_name(model: str) -> str:
    """A folder goes by its own name, a hub id by the whole of it."""
    return Path(model).expanduser().resolve().name if Path(model).expanduser().is_dir() else model


def _vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    size = int(checkpoint.config["vocab_size"])
    try:
        tokenizer = HfTokenizer(checkpoint.folder)
    except Exception as exc:
        raise ModelNotFound(
            f"The tokenizer in {checkpoint.folder} cannot be read: {exc}",
            hint="Copy the tokenizer files of the model it was fine-tuned from into it.",
        ) from exc
    return build_vocabulary(tokenizer, size, checkpoint.generation, checkpoint.config)


def _weights(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> WhisperForConditionalGeneration:
    try:
        model, notes = WhisperForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as exc:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} cannot be loaded: {type(exc).__name__}: {exc}",
            hint="The files are damaged or incomplete; fetch the model again.",
        ) from exc
    missing = sorted(set(notes["missing_keys"]) - {"proj_out.weight"})
    if missing:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} lack {len(missing)} tensors, {missing[0]} first.",
            hint="The files are incomplete; fetch the model again.",
        )
    ready: WhisperForConditionalGeneration = model.to(device).eval()
    return ready


def _feature_extractor(checkpoint: Checkpoint) -> WhisperFeatureExtractor:
    """Derived from the model's shape, which the files of old checkpoints do not contradict."""
    frames = 2 * int(checkpoint.config["max_source_positions"])
    return WhisperFeatureExtractor(
        feature_size=int(checkpoint.config["num_mel_bins"]),
        sampling_rate=SAMPLE_RATE,
        hop_length=160,
        chunk_length=frames * 160 // SAMPLE_RATE,
        n_fft=400,
    )


def _heads(checkpoint: Checkpoint, vocabulary: Vocabulary) -> Heads:
    layers = int(checkpoint.config["decoder_layers"])
    heads = int(checkpoint.config["decoder_attention_heads"])
    given = checkpoint.generation.get("alignment_heads")
    if given:
        return tuple(
            (int(layer), int(head)) for layer, head in given if layer < layers and head < heads
        )
    return alignment_heads(layers, heads, vocabulary.size)
