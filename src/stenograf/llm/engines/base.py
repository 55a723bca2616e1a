"""The seam between waiting and tensors: what a recognizer is given and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from stenograf.contract.errors import BadOptions, BadRequest, StenografError
from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Segment, Warning

SILENCE_PEAK = 2.5 / 32768  # two steps of 16-bit sound, -82 dBFS: dither, never speech


class EngineUnfit(StenografError):
    """This engine cannot run this model on this machine; another may."""

    code, status = "engine_unfit", 503


Stop = Callable[[], bool]
"""Asked between steps of the computation; True means nobody waits for the answer any more."""


def never() -> bool:
    """The Stop of a caller that always waits."""
    return False


@dataclass(frozen=True)
class EngineOptions:
    """What decides the text of a window; windows with equal options may share a batch."""

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    guard: GuardOptions = field(default_factory=GuardOptions)


@dataclass(frozen=True)
class WindowResult:
    """What was recognized in one window; times are samples from the window's first."""

    language: str
    segments: tuple[Segment, ...] = ()
    language_probability: float | None = None
    no_speech_prob: float | None = None
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True)
class Capabilities:
    """What a loaded engine can do, and what it is."""

    model: str
    languages: tuple[str, ...]
    tasks: tuple[str, ...] = ("transcribe",)
    max_window_samples: int = MAX_WINDOW_SAMPLES
    tells_languages: bool = True
    lacks: tuple[str, ...] = ()  # names of decoding options that must be left at their defaults
    embedded: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    fingerprint: str = ""  # of the weights and what is read with them
    engine: str = ""
    engine_reason: str = ""

    @property
    def default_language(self) -> str:
        """Russian where the model knows it, else whatever it hears."""
        return "ru" if "ru" in self.languages else "auto"

    def language_or_default(self, language: str) -> str:
        """`language` if the model knows it, else its default."""
        return language if language in ("auto", *self.languages) else self.default_language

    def check(self, options: DecodeOptions) -> None:
        """Raise BadOptions for what this model does not have: a language, a task, an option."""
        if options.language not in ("auto", *self.languages):
            known = ", ".join(self.languages[:8]) + (" …" if len(self.languages) > 8 else "")
            raise BadOptions(
                f"The model {self.model} does not know the language {options.language!r}.",
                hint=f"It knows: {known}. Or send auto.",
                param="language",
            )
        if options.languages and not set(options.languages) & set(self.languages):
            raise BadOptions(
                f"The model {self.model} knows none of: {', '.join(options.languages[:8])}.",
                hint="Leave the choice of languages out.",
                param="languages[]",
            )
        if options.task not in self.tasks:
            raise BadOptions(
                f"The model {self.model} cannot {options.task}.",
                hint=f"It can: {', '.join(self.tasks)}.",
                param="task",
            )
        if options.language == "auto" and not self.tells_languages:
            raise BadOptions(
                f"The model {self.model} cannot tell languages apart.",
                hint=f"Name the language: {', '.join(self.languages)}.",
                param="language",
            )
        for name in self.lacks:
            if getattr(options, name) != DecodeOptions.model_fields[name].default:
                raise BadOptions(
                    f"The model {self.model} has no use for {name}.",
                    hint="Leave it out.",
                    param=name,
                )

    def check_window(self, window: Waveform) -> None:
        """Raise BadRequest for a waveform, shape (n_samples,), that is too long or not finite."""
        if not np.isfinite(window).all():
            raise BadRequest("The sound has samples that are not finite.", param="file")
        if window.shape[0] > self.max_window_samples:
            raise BadRequest(
                f"A window has {window.shape[0] / SAMPLE_RATE:.1f} s; "
                f"the model takes {self.max_window_samples / SAMPLE_RATE:g} s at once.",
                param="file",
            )


class Engine(Protocol):
    """A recognizer. Called from one thread only, that of the batcher."""

    @property
    def capabilities(self) -> Capabilities:
        """What it is and can do."""
        ...

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """Recognize windows, float32 (n_samples,) at 16 kHz, in one batch; one result each.

        Raises Cancelled soon after `stop()` turns true, BadOptions or BadRequest for what
        `capabilities` excludes, OutOfResources when memory runs out.
        """
        ...

    def close(self) -> None:
        """Give memory and devices back."""
        ...


@runtime_checkable
class RestingEngine(Engine, Protocol):
    """An engine that can give its memory back for a while and load again by itself."""

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory now."""
        ...

    def rest(self) -> None:
        """Give the memory back; the next `transcribe` takes longer, as it loads first."""
        ...


def is_silent(window: Waveform) -> bool:
    """Whether a window, shape (n_samples,), holds nothing above 16-bit dither."""
    return window.size == 0 or max(float(window.max()), -float(window.min())) <= SILENCE_PEAK


def sift(
    capabilities: Capabilities, windows: Sequence[Waveform], options: EngineOptions
) -> tuple[list[WindowResult], list[int]]:
    """Every window's answer as if it were silent, and the indices of those that are not.

    Raises BadOptions or BadRequest for what `capabilities` excludes.
    """
    capabilities.check(options.decode)
    for window in windows:
        capabilities.check_window(window)
    language = "ru" if options.decode.language == "auto" else options.decode.language
    results = [_silent_result(language, window.shape[0]) for window in windows]
    return results, [i for i, window in enumerate(windows) if not is_silent(window)]


def _silent_result(language: str, n_samples: int) -> WindowResult:
    """The answer for a window of `n_samples` without sound: no text, and the reason."""
    warning = Warning(
        code="silence", message="The window holds no sound.", start=0, end=max(0, n_samples)
    )
    return WindowResult(language=language, no_speech_prob=1.0, warnings=(warning,))
