"""Tokens to segments: timestamps open and close phrases, and what is written between is said."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.llm.whisper.rules import STEP_S
from stenograf.llm.whisper.vocabulary import Vocabulary

STEP_SAMPLES = round(STEP_S * SAMPLE_RATE)  # 320


@dataclass(frozen=True)
class Phrase:
    """A stretch of text tokens with its time in samples from the window's first."""

    start: int
    end: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def avg_logprob(self) -> float:
        """Mean natural-log probability of the text tokens."""
        return sum(self.logprobs) / max(1, len(self.logprobs))


def phrases(
    tokens: Sequence[int], logprobs: Sequence[float], vocabulary: Vocabulary, n_samples: int
) -> list[Phrase]:
    """Split one window's tokens at its timestamps; `n_samples` is the window's length.

    Text without a timestamp before or behind it reaches to the neighbouring phrase or the
    window's edge. Phrases without a printable character are left out.
    """
    found: list[Phrase] = []
    start = 0
    text: list[tuple[int, float]] = []

    def close(end: int) -> None:
        ids = tuple(token for token, _ in text)
        if vocabulary.text(ids).strip():
            found.append(Phrase(start, max(start, end), ids, tuple(p for _, p in text)))
        text.clear()

    for token, logprob in zip(tokens, logprobs, strict=True):
        if token >= vocabulary.timestamp_begin:
            at = min((token - vocabulary.timestamp_begin) * STEP_SAMPLES, n_samples)
            if text:
                close(at)
            start = at
        elif token < vocabulary.end:
            text.append((token, logprob))
    if text:
        close(n_samples)
    return found


def compression_ratio(text: str) -> float:
    """utf-8 bytes of `text` per byte of its zlib form; 0 for no text.

    Text that says the same thing again and again compresses well: above 2.4 it is a loop (the
    threshold of the Whisper paper, section 4.5).
    """
    body = text.encode()
    return len(body) / len(zlib.compress(body)) if body else 0.0
