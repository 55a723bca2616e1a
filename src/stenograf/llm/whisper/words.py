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
_SMOOTHED_ROWS = 16  # at once: they and what comes of them stay in the core's own cache
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
    """Median over `_SMOOTHING_FRAMES` frames of (heads, tokens, frames), edges mirrored."""
    half = _SMOOTHING_FRAMES // 2
    if scores.shape[-1] <= half:
        return scores
    padded = np.pad(scores, [(0, 0), (0, 0), (half, half)], mode="reflect")
    smoothed = np.empty_like(scores)
    for head in range(scores.shape[0]):
        for first in range(0, scores.shape[1], _SMOOTHED_ROWS):
            rows = slice(first, first + _SMOOTHED_ROWS)
            smoothed[head, rows] = _median_of_seven(padded[head, rows])
    return smoothed


def _median_of_seven(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each seven neighbours in the last dimension, by exchanges of the smaller and the
    larger; neighbours are put in order once for all sevens that they belong to."""
    size = x.shape[-1] - _SMOOTHING_FRAMES + 1
    low, high = np.minimum(x[..., :-1], x[..., 1:]), np.maximum(x[..., :-1], x[..., 1:])
    a, f = low[..., :size], high[..., :size]
    b, g = low[..., 2 : size + 2], high[..., 2 : size + 2]
    c, e = low[..., 4 : size + 4], high[..., 4 : size + 4]
    d = x[..., 6:]
    a, d = np.minimum(a, d), np.maximum(a, d)
    b = np.maximum(a, b)
    d, f = np.minimum(d, f), np.maximum(d, f)
    c, g = np.minimum(c, g), np.maximum(c, g)
    d = np.minimum(np.maximum(c, d), g)
    e = np.minimum(e, f)
    b, e = np.minimum(b, e), np.maximum(b, e)
    median: NDArray[np.float32] = np.minimum(np.maximum(b, d), e)
    return median


def first_frames(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The frame at which the cheapest monotone path enters each row of `cost`, (rows, frames).

    Dynamic time warping with steps (1, 1), (1, 0) and (0, 1). Returns int64, shape (rows,). A path
    that enters a row at k and leaves it at j pays for it the difference of two running sums, so
    the best k for every j is a running minimum.
    """
    rows, frames = cost.shape
    entering = np.empty((rows, frames))  # cost so far less the row's sum before, for each frame
    diagonal = np.empty((rows, frames), dtype=np.bool_)
    before = np.full(frames + 1, np.inf)  # of the row above, left of it the beginning
    before[0] = 0.0
    for i, row in enumerate(cost):
        total = np.cumsum(row)
        diagonal[i] = before[:-1] <= before[1:]
        entering[i] = np.minimum(before[:-1], before[1:]) - (total - row)
        before[0] = np.inf
        before[1:] = np.minimum.accumulate(entering[i]) + total
    entered = np.zeros(rows, dtype=np.int64)
    j = frames - 1
    for i in range(rows - 1, -1, -1):
        j -= int(entering[i, j::-1].argmin())  # the latest of equals
        entered[i] = j
        j = max(0, j - int(diagonal[i, j]))
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
