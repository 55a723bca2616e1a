"""A recognizer without weights for tests of the other services: words follow the sound's level.

It never runs unless it is asked for by name (`ENGINE=fake`).
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from stenograf.contract.errors import Cancelled
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Segment, TokenScore, Word
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    Stop,
    WindowResult,
    never,
    sift,
)

BLOCK = SAMPLE_RATE // 2  # one word for every half second of sound
QUIET_DB = -60.0
_BLOCKS_PER_SEGMENT = 8
_WORDS = ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять")


class FakeEngine:
    """Says one numeral per half second above -60 dBFS: the last digit of its level in -dB.

    The same sound gives the same text; silence gives none; a pause ends a segment. `delay_s` is
    the time every batch takes.
    """

    def __init__(self, delay_s: float = 0.0, model: str = "fake") -> None:
        self.capabilities = Capabilities(
            model=model,
            languages=("ru", "en"),
            tasks=("transcribe", "translate"),
            dtype="none",
            engine="fake",
            engine_reason="ENGINE names it.",
        )
        self._delay_s = delay_s

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        results, sounding = sift(self.capabilities, windows, options)
        self._wait(stop)
        for i in sounding:
            results[i] = _recognize(windows[i], options)
        return results

    def close(self) -> None:
        """Nothing to give back."""

    def _wait(self, stop: Stop) -> None:
        deadline = time.monotonic() + self._delay_s
        while (left_s := deadline - time.monotonic()) > 0:
            if stop():
                raise Cancelled("Nobody waits for this window any more.")
            time.sleep(min(left_s, 0.02))


def _recognize(window: Waveform, options: EngineOptions) -> WindowResult:
    auto = options.decode.language == "auto"
    segments: list[Segment] = []
    words: list[Word] = []
    for index, level_db in enumerate(_levels_db(window)):
        if level_db > QUIET_DB:
            start, text = index * BLOCK, " " + _WORDS[round(-level_db) % 10]
            end = min(start + BLOCK, window.shape[0])
            words.append(Word(start=start, end=end, text=text, probability=0.9))
        if words and (level_db <= QUIET_DB or len(words) == _BLOCKS_PER_SEGMENT):
            segments.append(_segment(words, options))
            words = []
    if words:
        segments.append(_segment(words, options))
    return WindowResult(
        language="ru" if auto else options.decode.language,
        segments=tuple(segments),
        language_probability=1.0 if auto else None,
        no_speech_prob=0.0 if segments else 1.0,
    )


def _levels_db(window: Waveform) -> list[float]:
    """The level of each block, the last of which may be shorter."""
    whole = len(window) - len(window) % BLOCK
    blocks, rest = window[:whole].reshape(-1, BLOCK), window[whole:]
    powers = (np.einsum("ij,ij->i", blocks, blocks) / BLOCK).tolist()
    if len(rest):
        powers.append(float(np.dot(rest, rest)) / len(rest))
    return [20 * math.log10(max(math.sqrt(power), 1e-9)) for power in powers]


def _segment(words: Sequence[Word], options: EngineOptions) -> Segment:
    return Segment(
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.text for word in words),
        words=tuple(words) if options.decode.word_timestamps else (),
        tokens=tuple(_WORDS.index(word.text.strip()) for word in words),
        scores=_scores(words) if options.decode.token_logprobs else (),
        avg_logprob=-0.1,
        no_speech_prob=0.0,
        compression_ratio=1.0,
        temperature=options.decode.temperature,
    )


def _scores(words: Sequence[Word]) -> tuple[TokenScore, ...]:
    return tuple(TokenScore(utf8=tuple(word.text.encode()), logprob=-0.1) for word in words)
