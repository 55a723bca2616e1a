"""Whisper through CTranslate2: int8 on CPU and GPU, and no PyTorch in the process."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from stenograf.contract.errors import Cancelled, StenografError
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import Capabilities, EngineOptions, EngineUnfit, Stop
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.models import Report
from stenograf.llm.whisper.checkpoint import CONVERTED, Checkpoint
from stenograf.llm.whisper.convert import Storage, converted
from stenograf.llm.whisper.ct2_folder import is_ct2_folder, open_ct2_folder
from stenograf.llm.whisper.driver import WhisperEngine
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.hardware import available_cores
from stenograf.llm.whisper.hub import locate
from stenograf.llm.whisper.ladder import Rung
from stenograf.llm.whisper.loading import capabilities, load_heads, load_vocabulary, open_source
from stenograf.llm.whisper.reader import Alignment, room, steps_of
from stenograf.llm.whisper.search import Hypothesis, rewritten
from stenograf.llm.whisper.vocabulary import Vocabulary

_POLL_S = 0.02
_FRAMES_PER_STEP = 2  # mel frames for one encoder frame
_NARROW = 384  # of whisper-tiny: rounding fewer weights to int8 costs text and saves no time
_BATCH_ON_CPU = 4  # each window's keys and values take memory, and more gain little
_NEAR_STEPS = 100  # 2 s
_BEST_OF = 5  # drawn side by side when sampling, the likeliest is kept


class Ct2Whisper(WhisperEngine):
    """An `Engine` over a loaded CTranslate2 model."""

    def __init__(
        self,
        model: ctranslate2.models.Whisper,
        features: LogMel,
        vocabulary: Vocabulary,
        capabilities: Capabilities,
        *,
        max_tokens: int,
        knows_timestamps: bool,
    ) -> None:
        super().__init__(vocabulary, capabilities, knows_timestamps=knows_timestamps)
        self._model = model
        self._features = features
        self._max_tokens = max_tokens

    def hear(self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop) -> "_Hearing":
        """See `WhisperEngine.hear`."""
        states = []
        for window in windows:  # the encoder gains nothing from a batch, and can be stopped so
            _check(stop)
            features = ctranslate2.StorageView.from_array(self._features([window]))
            states.append(np.asarray(self._model.encode(features, to_cpu=True)))
        last_steps = [steps_of(window.shape[0]) for window in windows]
        return _Hearing(
            self._model,
            self._vocabulary,
            options.decode,
            self._max_tokens,
            states,
            last_steps,
            stop,
        )

    def close(self) -> None:
        """Give the weights' memory back."""
        self._model.unload_model()


class _Hearing:
    """The `reader.Hearing` of CTranslate2, which searches by itself.

    Its sampling cannot be seeded: where the ladder reaches a temperature, texts may differ.
    """

    tells_logprobs = False

    def __init__(
        self,
        model: ctranslate2.models.Whisper,
        vocabulary: Vocabulary,
        options: DecodeOptions,
        max_tokens: int,
        states: Sequence[NDArray[np.float32]],
        last_steps: Sequence[int],
        stop: Stop,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._decode = options
        self._max_tokens = max_tokens
        self._states = states
        self._batch = _BATCH_ON_CPU if model.device == "cpu" else len(states)
        self._last_steps = last_steps
        self._stop = stop
        self._prompt = vocabulary.prompt(options.prompt, max_tokens // 2 - 1)
        self.no_speech = [0.0] * len(states)
        self.languages, self.language_probabilities = self._spoken()

    def read(self, windows: Sequence[int], rung: Rung) -> list[Hypothesis]:
        """See `Hearing.read`."""
        found: dict[int, Hypothesis] = {}
        for group in self._groups(windows):
            found |= zip(group, self._generate(group, rung), strict=True)
            # one call bars timestamps for all its windows alike: behind the longest one's end
            for i in group if len(group) > 1 else ():
                stamps = [t for t in found[i].tokens if t >= self._vocabulary.timestamp_begin]
                if stamps and stamps[-1] > self._vocabulary.timestamp_begin + self._last_steps[i]:
                    (found[i],) = self._generate([i], rung)
        return [found[i] for i in windows]

    def _groups(self, windows: Sequence[int]) -> list[list[int]]:
        """Windows of nearly equal length together, as many as memory and speed recommend."""
        groups: list[list[int]] = []
        for i in sorted(windows, key=lambda i: self._last_steps[i]):
            last = groups[-1] if groups else []
            if last and len(last) < self._batch and self._near(last[0], i):
                last.append(i)
            else:
                groups.append([i])
        return groups

    def _near(self, one: int, other: int) -> bool:
        apart = abs(self._last_steps[one] - self._last_steps[other])
        return self._model.device != "cpu" or apart <= _NEAR_STEPS

    def _generate(self, windows: Sequence[int], rung: Rung) -> list[Hypothesis]:
        vocabulary = self._vocabulary
        _check(self._stop)
        prompts = [
            [
                *self._prompt,
                *vocabulary.prefix(
                    self.languages[i], self._decode.task, timestamps=rung.timestamps
                ),
            ]
            for i in windows
        ]
        last_step = max(self._last_steps[i] for i in windows)
        rooms = room(last_step, len(prompts[0]), self._max_tokens)
        sampled = rung.temperature > 0
        answers = self._wait(
            self._model.generate(
                self._memory(windows),
                prompts,
                asynchronous=True,
                beam_size=1 if sampled else self._decode.beam_size,
                num_hypotheses=_BEST_OF if sampled else 1,
                sampling_topk=0 if sampled else 1,
                sampling_temperature=rung.temperature if sampled else 1.0,
                # it takes half of this as the room for text
                max_length=min(2 * rooms, self._max_tokens),
                return_scores=True,
                return_no_speech_prob=True,
                suppress_blank=True,
                suppress_tokens=self._suppressed(last_step),
                max_initial_timestamp_index=vocabulary.latest_first_step,
            )
        )
        for i, answer in zip(windows, answers, strict=True):
            self.no_speech[i] = float(answer.no_speech_prob)
        return [_hypothesis(answer, rung.temperature) for answer in answers]

    def align(self, windows: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Alignment]:
        """See `Hearing.align`."""
        found: dict[int, Alignment] = {}
        text_of = dict(zip(windows, texts, strict=True))
        for language in sorted({self.languages[i] for i in windows}):  # one prefix for each call
            _check(self._stop)
            group = [i for i in windows if self.languages[i] == language]
            prefix = self._vocabulary.prefix(language, self._decode.task, timestamps=True)
            answers = self._model.align(
                self._memory(group),
                prefix,
                [list(text_of[i]) for i in group],
                [max(1, self._last_steps[i]) * _FRAMES_PER_STEP for i in group],
            )
            for i, answer in zip(group, answers, strict=True):
                found[i] = _alignment(answer, len(text_of[i]))
        return [found[i] for i in windows]

    def _memory(self, windows: Sequence[int]) -> ctranslate2.StorageView:
        return ctranslate2.StorageView.from_array(
            np.concatenate([self._states[i] for i in windows])
        )

    def _suppressed(self, last_step: int) -> list[int]:
        """Tokens that are never text, and the timestamps behind the end of the sound."""
        begin, end = self._vocabulary.timestamp_begin, self._vocabulary.end
        special = range(end + 1, begin)
        behind = range(begin + last_step + 1, self._vocabulary.size)
        marks = [token for token in self._vocabulary.suppress if token != end]
        return sorted({*marks, *special, *behind}) or []

    def _spoken(self) -> tuple[list[str], list[float | None]]:
        windows, known = range(len(self._states)), list(self._vocabulary.languages)
        if self._decode.language != "auto" or not known:
            language = "en" if self._decode.language == "auto" else self._decode.language
            return [language for _ in windows], [None for _ in windows]
        if len(known) == 1:
            return known * len(windows), [1.0 for _ in windows]
        wanted = [code for code in known if code in self._decode.languages] or known
        found = [
            [
                (code, float(chance))
                for token, chance in ranked
                if (code := token.strip("<|>")) in wanted
            ]
            for ranked in self._model.detect_language(self._memory(windows))
        ]
        best = [ranked[0][0] for ranked in found]
        return best, [ranked[0][1] / sum(chance for _, chance in ranked) for ranked in found]

    def _wait(self, answers: Sequence[Any]) -> list[Any]:
        """The results of asynchronous work; one that nobody waits for ends behind our back."""
        while not all(answer.done() for answer in answers):
            _check(self._stop)
            time.sleep(_POLL_S)
        return [answer.result() for answer in answers]


def _check(stop: Stop) -> None:
    if stop():
        raise Cancelled("Nobody waits for this window any more.")


def _hypothesis(answer: Any, temperature: float) -> Hypothesis:
    best = max(range(len(answer.scores)), key=lambda i: float(answer.scores[i]))
    tokens = list(answer.sequences_ids[best])
    # the score is the sum over all tokens, the end included, by the number of those before it
    mean = float(answer.scores[best]) * max(1, len(tokens)) / (len(tokens) + 1)
    return rewritten(tokens, mean, mean, temperature)


def _alignment(answer: Any, tokens: int) -> Alignment:
    """Where the path through the sound enters each token."""
    borders = np.zeros(tokens + 1, dtype=np.int64)
    for token, frame in reversed(answer.alignments):
        borders[min(token, tokens)] = frame
    logprobs = [math.log(max(float(p), 1e-12)) for p in answer.text_token_probs]
    return Alignment(borders, tuple(logprobs))


def load_ct2_whisper(settings: EngineSettings, report: Report) -> Ct2Whisper:
    """Find, convert where needed, and load the model that the settings name.

    Raises StenografError in words for whoever set LOCAL_LLM_MODEL, COMPUTE_TYPE or DEVICE.
    """
    device, index = _device(settings.device)
    folder = locate(settings.model, settings.hf_home / "hub", report)
    report(0.9, "Checking the model's files.")
    if is_ct2_folder(folder):
        compute_type = choose_compute_type(settings.compute_type, device)
        ready = open_ct2_folder(folder)
    else:
        checkpoint = open_source(settings, folder)
        width = int(checkpoint.config["d_model"])
        compute_type = choose_compute_type(settings.compute_type, device, width)
        report(0.92, "Converting the weights for CTranslate2, unless that was done before.")
        ready = open_ct2_folder(_converted(checkpoint, compute_type, settings.data_dir))
    report(0.95, "Reading the weights.")
    try:
        model = ctranslate2.models.Whisper(
            str(ready.folder),
            device=device,
            device_index=index,
            compute_type=compute_type,
            inter_threads=1,
            intra_threads=settings.threads or available_cores(),
        )
    except (RuntimeError, ValueError) as exc:
        raise EngineUnfit(
            f"CTranslate2 cannot load the model in {ready.folder}: {exc}",
            hint="The files are damaged or of another version; remove the folder, or convert the "
            "model again.",
        ) from exc
    if len(ready.vocabulary.languages) > 1 and not model.is_multilingual:
        raise EngineUnfit(
            "CTranslate2 cannot tell languages apart with so small a vocabulary.",
            hint="Set ENGINE=transformers for this model.",
        )
    features = LogMel(model.n_mels, _FRAMES_PER_STEP * ready.max_frames)
    known = capabilities(
        settings,
        folder,
        ready.vocabulary,
        features,
        dtype=model.compute_type,
        device=device if device == "cpu" else f"{device}:{index}",
    )
    return Ct2Whisper(
        model,
        features,
        ready.vocabulary,
        known,
        max_tokens=ready.max_tokens,
        knows_timestamps=ready.knows_timestamps,
    )


def _converted(checkpoint: Checkpoint, compute_type: str, data_dir: Path) -> Path:
    vocabulary = load_vocabulary(checkpoint)
    heads = load_heads(checkpoint, vocabulary)
    storage = storage_for(compute_type)
    return converted(checkpoint, vocabulary, heads, storage, data_dir / CONVERTED)


def storage_for(compute_type: str) -> Storage:
    """How weights are kept on disk for a `COMPUTE_TYPE` that is not auto."""
    if compute_type.startswith("int8"):
        return "int8"
    return "float16" if compute_type == "float16" else "float32"


def _device(name: str) -> tuple[str, int]:
    """Device and its number for a `DEVICE` setting."""
    present = ctranslate2.get_cuda_device_count()
    if name == "auto":
        return ("cuda", 0) if present else ("cpu", 0)
    device, _, index = name.partition(":")
    if device == "cuda" and int(index or 0) >= present:
        raise StenografError(
            f"DEVICE is {name}, but CTranslate2 sees {present} CUDA devices.",
            hint="Set DEVICE=cpu or auto, or install the NVIDIA driver with CUDA and cuDNN.",
        )
    return device, int(index or 0)


def choose_compute_type(name: str, device: str, width: int = _NARROW) -> str:
    """The number format for a `COMPUTE_TYPE` setting; auto is what the device computes fast.

    `width` is the model's d_model. Raises StenografError for what the device cannot do.
    """
    possible = ctranslate2.get_supported_compute_types(device)
    if name == "auto":
        on_cpu = ("int8",) if width >= _NARROW else ()
        wanted = on_cpu if device == "cpu" else ("float16", "int8_float32")
        return next((each for each in wanted if each in possible), "float32")
    if name not in possible:
        raise StenografError(
            f"COMPUTE_TYPE is {name}, which this {device} cannot compute with CTranslate2.",
            hint=f"It can: {', '.join(sorted(possible))}. Or set COMPUTE_TYPE=auto.",
        )
    return name
