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


def climb(
    windows: int,
    ladder: Sequence[Rung],
    decode: Decode,
    guard: GuardOptions,
    no_speech: Sequence[float],
    vocabulary: Vocabulary,
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
            failed = _failed(hypothesis, guard, no_speech[window], vocabulary)
            tried[window].append(Reading(hypothesis, rung, failed))
        open_windows = [window for window in open_windows if tried[window][-1].failed]
    return [_best(readings, guard, vocabulary) for readings in tried]


def _failed(
    hypothesis: Hypothesis, guard: GuardOptions, no_speech: float, vocabulary: Vocabulary
) -> bool:
    if _repeats(hypothesis, guard, vocabulary):
        return True
    doubtful = hypothesis.avg_logprob < guard.logprob_threshold
    # doubtful text where no speech is heard is silence, and no other reading will change that
    return doubtful and no_speech <= guard.no_speech_threshold


def _repeats(hypothesis: Hypothesis, guard: GuardOptions, vocabulary: Vocabulary) -> bool:
    text = vocabulary.text(hypothesis.tokens)
    return bool(hypothesis.loop) or compression_ratio(text) > guard.compression_ratio_threshold


def _best(readings: Sequence[Reading], guard: GuardOptions, vocabulary: Vocabulary) -> Reading:
    passed = next((reading for reading in readings if not reading.failed), None)
    if passed is not None:
        return passed
    return max(
        readings,
        key=lambda reading: (
            not _repeats(reading.hypothesis, guard, vocabulary),
            reading.hypothesis.avg_logprob,
        ),
    )
