"""Whisper on x86 CPUs through our own library: int8 weights, batched decoding, no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.errors import Cancelled
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    EngineUnfit,
    Stop,
)
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.models import Report
from stenograf.llm.native.library import Library, Model, NativeUnavailable, Rows, Window
from stenograf.llm.native.weights import fill, shape_of
from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.checkpoint import Checkpoint
from stenograf.llm.whisper.driver import WhisperEngine
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.hardware import available_cores
from stenograf.llm.whisper.hub import locate
from stenograf.llm.whisper.loading import (
    capabilities,
    load_heads,
    load_vocabulary,
    log_mel,
    open_source,
)
from stenograf.llm.whisper.reader import Reader, steps_of
from stenograf.llm.whisper.rules import STEP_S
from stenograf.llm.whisper.sound import Logits
from stenograf.llm.whisper.vocabulary import Vocabulary
from stenograf.llm.whisper.weights import Weights

_BEAM_GROUP = 8  # windows; their beams share keys and values of the sound, and the weights' way


class NativeWhisper(WhisperEngine):
    """An `Engine` over a loaded native model."""

    def __init__(
        self,
        model: Model,
        features: LogMel,
        vocabulary: Vocabulary,
        heads: Heads,
        capabilities: Capabilities,
        *,
        knows_timestamps: bool,
        margin_s: float | None = None,
    ) -> None:
        """With `margin_s` short windows are padded by so much, not to the encoder's length."""
        super().__init__(vocabulary, capabilities, knows_timestamps=knows_timestamps)
        self._margin_s = margin_s
        self._model = model
        self._features = features
        self._heads = heads

    def hear(self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop) -> Reader:
        """See `WhisperEngine.hear`."""
        heard = []
        for window in windows:  # the encoder fills the cores with one
            if stop():
                raise Cancelled("Nobody waits for this window any more.")
            features = self._features([window])[0][:, : self._frames(window)]
            heard.append(self._model.hear(features))
        lengths = [window.shape[0] for window in windows]
        return Reader(
            _Sound(self._model, heard),
            self._vocabulary,
            self._heads,
            options.decode,
            self._model.shape.max_tokens,
            lengths,
            stop,
        )

    def _frames(self, window: Waveform) -> int:
        """Feature frames that the encoder sees of a window."""
        if self._margin_s is None:
            return self._features.frames
        steps = steps_of(window.shape[0]) + round(self._margin_s / STEP_S)
        return min(2 * steps, self._features.frames)

    def close(self) -> None:
        """Give the weights' memory back."""
        self._model.close()


@dataclass(frozen=True)
class _Sound:
    """A `Sound` over heard windows."""

    model: Model
    windows: Sequence[Window]
    beam_group: int = _BEAM_GROUP

    def steps(self, windows: Sequence[int]) -> "_Steps":
        return _Steps(self.model.decode([self.windows[i] for i in windows]))

    def attention(
        self, window: int, tokens: Sequence[int], heads: Heads, frames: int
    ) -> NDArray[np.float32]:
        rows = self.model.decode([self.windows[window]])
        scores = rows.look(np.array([tokens]), heads)[:, 0, :, :frames]
        chances: NDArray[np.float32] = np.exp(scores - scores.max(axis=-1, keepdims=True))
        chances /= chances.sum(axis=-1, keepdims=True)
        return chances


@dataclass(frozen=True)
class _Steps:
    """`Steps` of a native model."""

    rows: Rows

    def feed(self, tokens: NDArray[np.int64]) -> Logits:
        return self.rows.feed(tokens)

    def select(self, rows: Sequence[int]) -> None:
        self.rows.select(rows)


def load_native(
    settings: EngineSettings, report: Report, library: Library | None = None
) -> NativeWhisper:
    """Find, quantize and load the checkpoint that the settings name.

    `library` stands in for the one that was built in place.

    Raises EngineUnfit where library, CPU or model do not allow it, else StenografError in words
    for whoever set LOCAL_LLM_MODEL.
    """
    library = library or Library()
    isa = library.isa(settings.native_isa)
    if isa == "base" and not settings.native_isa:
        raise NativeUnavailable("This CPU has no AVX2.", hint="Set ENGINE=auto.")
    if settings.device not in ("auto", "cpu"):
        raise EngineUnfit(
            f"It runs on the CPU only, and DEVICE is {settings.device}.", hint="Set DEVICE=cpu."
        )
    folder = locate(settings.model, settings.hf_home / "hub", report)
    report(0.9, "Checking the model's files.")
    checkpoint = open_source(settings, folder)
    vocabulary = load_vocabulary(checkpoint)
    model = _model(library, checkpoint, settings.threads or available_cores(), isa, report)
    features = log_mel(checkpoint)
    known = capabilities(
        settings,
        folder,
        vocabulary,
        features,
        dtype="int8",
        device=f"cpu ({isa})",
    )
    return NativeWhisper(
        model,
        features,
        vocabulary,
        load_heads(checkpoint, vocabulary),
        known,
        knows_timestamps=checkpoint.knows_timestamps,
        margin_s=settings.native_margin_s,
    )


def _model(
    library: Library, checkpoint: Checkpoint, threads: int, isa: str, report: Report
) -> Model:
    try:
        model = Model(library, shape_of(checkpoint.config), threads, isa)
        for share in fill(model, Weights(checkpoint.folder)):
            report(0.91 + 0.05 * share, "Quantizing the weights.")
    except ValueError as exc:
        raise EngineUnfit(
            f"The model in {checkpoint.folder} does not fit the native engine: {exc}.",
            hint="Set ENGINE=auto.",
        ) from exc
    return model
