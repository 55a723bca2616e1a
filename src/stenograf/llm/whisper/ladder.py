"""Decoding again, less greedily, only where it failed.

A reading fails when it repeats itself or when the model itself doubts it. The next rung samples at
a higher temperature (Radford et al. 2022, section 4.5). A checkpoint that never learned timestamps
gets a greedy reading without them first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stenograf.contract.options import GuardOptions
from stenograf.llm.whisper.phrases import compression_ratio
from stenograf.llm.whisper.search import Hypothesis
from stenograf.llm.whisper.vocabulary import Vocabulary

_STEP = 0.2


@dataclass(frozen=True)
class Rung:
    """One way to decode."""

    temperature: float
    timestamps: bool = True


Decode = Callable[[Sequence[int], Rung], list[Hypothesis]]
"""Reads the given windows on a rung; one hypothesis each."""


@dataclass(frozen=True)
class Reading:
    """The reading that was kept for a window, and how it was made."""

    hypothesis: Hypothesis
    rung: Rung
    failed: bool


def rungs(temperature: float, *, plain_first: bool) -> list[Rung]:
    """From `temperature` to 1 in steps of 0.2; `plain_first` inserts one without timestamps."""
    count = round((1 - temperature) / _STEP) + 1
    climb = [min(1.0, round(temperature + i * _STEP, 3)) for i in range(max(1, count))]
    ladder = [Rung(each) for each in climb]
    if plain_first:
        ladder.insert(1, Rung(temperature, timestamps=False))
    return ladder


@dataclass(frozen=True)
class Judge:
    """Decides whether a reading failed.

    `empty_is_doubtful`: a checkpoint that never learned timestamps may stop right behind the
    first one, so a reading without text counts only where it hears no speech.
    """

    guard: GuardOptions
    vocabulary: Vocabulary
    empty_is_doubtful: bool = False

    def repeats(self, hypothesis: Hypothesis) -> bool:
        """Whether the text says the same thing over and over."""
        text = self.vocabulary.text(hypothesis.tokens)
        ratio = compression_ratio(text)
        return bool(hypothesis.loop) or ratio > self.guard.compression_ratio_threshold

    def failed(self, hypothesis: Hypothesis, rung: Rung, no_speech: float) -> bool:
        """Whether to read again; doubtful text where no speech is heard is silence instead."""
        if self.repeats(hypothesis):
            return True
        if no_speech > self.guard.no_speech_threshold:
            return False
        if self.empty_is_doubtful and rung.timestamps:
            text = self.vocabulary.text(hypothesis.tokens)
            if not text.strip():
                return True
        return hypothesis.avg_logprob < self.guard.logprob_threshold


def climb(
    windows: int,
    ladder: Sequence[Rung],
    decode: Decode,
    judge: Judge,
    no_speech: Sequence[float],
) -> list[Reading]:
    """Decode windows 0 … `windows` - 1; each stops at the first rung that does not fail.

    Where all fail, the reading without a loop that the model doubts least is kept.
    """
    tried: list[list[Reading]] = [[] for _ in range(windows)]
    open_windows = list(range(windows))
    for rung in ladder:
        if not open_windows:
            break
        readings = decode(open_windows, rung)
        for window, hypothesis in zip(open_windows, readings, strict=True):
            failed = judge.failed(hypothesis, rung, no_speech[window])
            tried[window].append(Reading(hypothesis, rung, failed))
        open_windows = [window for window in open_windows if tried[window][-1].failed]
    return [_best(readings, judge) for readings in tried]


def _best(readings: Sequence[Reading], judge: Judge) -> Reading:
    if not readings[-1].failed:
        return readings[-1]
    return max(
        readings,
        key=lambda reading: (
            not judge.repeats(reading.hypothesis),
            reading.hypothesis.avg_logprob,
        ),
    )
