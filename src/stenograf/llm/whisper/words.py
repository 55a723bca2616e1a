"""Word times from cross-attention: the path through the sound that the tokens attended to.

The method is that of OpenAI's `word_timestamps`: attention of the heads that follow the sound,
normalized per frame over tokens, smoothed over time, then dynamic time warping (a monotone path
through tokens x frames) whose jumps are the token borders.
"""

import math
import string
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.pcm import Waveform
from stenograf.contract.transcript import Word
from stenograf.llm.whisper.phrases import STEP_SAMPLES, Phrase
from stenograf.llm.whisper.quiet import sounding, trim
from stenograf.llm.whisper.vocabulary import Vocabulary

_SMOOTHING_FRAMES = 7
# exchanges that bring the median of seven to the middle, each as (smaller to, larger to)
_TO_THE_MIDDLE = ((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5),
                  (1, 4), (1, 3), (3, 4))  # fmt: skip
_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue", "km", "bo"})
_OPENING = frozenset("\"'“¿([{-«„")
_CLOSING = frozenset("\"'.。,，!！?？:：”)]}、»…;") | frozenset(string.punctuation) - _OPENING
_REPLACEMENT = "�"
_LONG_WORD_MEDIANS = 2.0
_LONG_WORD_FRAMES = 40  # 0.8 s: no word under that is called too long


def time_words(
    borders: NDArray[np.int64],
    waveform: Waveform,
    spoken: Sequence[Phrase],
    vocabulary: Vocabulary,
    language: str,
) -> list[tuple[Word, ...]]:
    """Words of each phrase of one window, float32 (n_samples,), in samples from its first.

    `borders` are those of `token_borders` for the text tokens of all phrases together.
    """
    loud = sounding(waveform)
    timed: list[tuple[Word, ...]] = []
    first = 0
    for phrase in spoken:
        words = split_words(phrase.tokens, vocabulary, language)
        placed = _phrase_words(phrase, words, borders[first:])
        timed.append(placed if loud is None else tuple(trim(word, loud) for word in placed))
        first += len(phrase.tokens)
    return timed


def token_borders(attention: NDArray[np.float32], prefix: int) -> NDArray[np.int64]:
    """First frame of each text token and the end of the last, int64, shape (text tokens + 1,).

    `attention`, (heads, tokens, frames), is of `prefix` tokens, the text and the end token. What
    a token attends to is what the one behind it says, so rows are read one earlier.
    """
    mean = attention.mean(axis=-2, keepdims=True)
    spread = np.maximum(attention.std(axis=-2, keepdims=True), 1e-9)
    scores = ((attention - mean) / spread)[:, prefix - 1 : -1]
    return first_frames(-smooth(scores).mean(axis=0).astype(np.float64))


def smooth(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over `_SMOOTHING_FRAMES` frames, last dimension, edges mirrored."""
    half = _SMOOTHING_FRAMES // 2
    if scores.shape[-1] <= half:
        return scores
    padded = np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(half, half)], mode="reflect")
    frames = scores.shape[-1]
    near = [padded[..., shift : shift + frames] for shift in range(_SMOOTHING_FRAMES)]
    for low, high in _TO_THE_MIDDLE:
        near[low], near[high] = np.minimum(near[low], near[high]), np.maximum(near[low], near[high])
    return near[half]


def first_frames(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The frame at which the cheapest monotone path enters each row of `cost`, (rows, frames).

    Dynamic time warping with steps (1, 1), (1, 0) and (0, 1); computed along anti-diagonals, so
    that numpy does the inner loop. Returns int64, shape (rows,).
    """
    rows, frames = cost.shape
    total = np.full((rows + 1, frames + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + frames + 1):
        i = np.arange(max(1, diagonal - frames), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(total[i - 1, j - 1], np.minimum(total[i - 1, j], total[i, j - 1]))
        total[i, j] = cost[i - 1, j - 1] + before
    entered = np.zeros(rows, dtype=np.int64)
    i, j = rows, frames
    while i > 0 and j > 0:
        entered[i - 1] = j - 1
        options = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
        best = int(np.argmin(options))
        i, j = (i - 1, j - 1) if best == 0 else (i - 1, j) if best == 1 else (i, j - 1)
    return entered


def split_words(
    tokens: Sequence[int], vocabulary: Vocabulary, language: str
) -> list[tuple[str, int]]:
    """Words of a phrase and how many tokens each takes; the counts sum to `len(tokens)`.

    A word starts at a space (in languages written without spaces, at every character), and
    punctuation belongs to the word it stands at.
    """
    units: list[tuple[str, int]] = []
    held: list[int] = []
    for token in tokens:
        held.append(token)
        text = vocabulary.text(held)
        if _REPLACEMENT not in text:  # otherwise a character is still incomplete
            units.append((text, len(held)))
            held = []
    if held:
        units.append((vocabulary.text(held), len(held)))
    spaced = language not in _WITHOUT_SPACES
    words: list[tuple[str, int]] = []
    for text, count in units:
        if words and _continues(words[-1][0], text, spaced):
            words[-1] = (words[-1][0] + text, words[-1][1] + count)
        else:
            words.append((text, count))
    return words


def _continues(word: str, text: str, spaced: bool) -> bool:
    """Whether `text` still belongs to `word`."""
    stripped = text.strip()
    if not stripped or (all(c in _CLOSING for c in stripped) and not text.startswith(" ")):
        return True
    if word.strip() and all(c in _OPENING for c in word.strip()):
        return not text.startswith(" ")
    return spaced and not text.startswith(" ")


def _phrase_words(
    phrase: Phrase, words: Sequence[tuple[str, int]], borders: NDArray[np.int64]
) -> tuple[Word, ...]:
    """Words of one phrase inside its time; a pause that attention gave to an edge word is cut."""
    edges = np.concatenate([[0], np.cumsum([count for _, count in words])])
    frames = borders[edges].copy()
    longest = max(_LONG_WORD_FRAMES, round(_LONG_WORD_MEDIANS * float(np.median(np.diff(frames)))))
    frames[0] = max(frames[0], frames[1] - longest)
    frames[-1] = min(frames[-1], frames[-2] + longest)
    samples = np.clip(frames * STEP_SAMPLES, phrase.start, phrase.end).tolist()
    return tuple(
        Word(start=start, end=end, text=text, probability=_mean(phrase.logprobs[first:behind]))
        for (text, _), (start, end), (first, behind) in zip(
            words, pairwise(samples), pairwise(edges.tolist()), strict=True
        )
    )


def _mean(logprobs: Sequence[float]) -> float:
    return min(1.0, sum(map(math.exp, logprobs)) / max(1, len(logprobs)))
