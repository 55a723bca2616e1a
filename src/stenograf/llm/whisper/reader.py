"""Reads the windows of one batch: first impression once, text once per rung of the ladder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import Stop
from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.ladder import Rung
from stenograf.llm.whisper.phrases import STEP_SAMPLES
from stenograf.llm.whisper.rules import STEP_S, LogitRules
from stenograf.llm.whisper.search import HostSearch, Hypothesis, Search, Task, log_sum_exp
from stenograf.llm.whisper.sound import Sound
from stenograf.llm.whisper.vocabulary import Vocabulary
from stenograf.llm.whisper.words import token_borders

_TOKENS_AT_LEAST = 50
_TOKENS_PER_SECOND = 25  # twice the fastest Russian, timestamps included


@dataclass(frozen=True)
class Alignment:
    """Where a window's text lies in its sound.

    `borders` are the encoder frame at which each token begins and that where the last one ends,
    int64, shape (tokens + 1,). `logprobs` are the tokens' natural-log probabilities where the
    reading did not give them.
    """

    borders: NDArray[np.int64]
    logprobs: tuple[float, ...] | None = None


class Hearing(Protocol):
    """A batch of windows behind the encoder, in the hands of one engine.

    `languages`, `language_probabilities` (None where the language was given) and `no_speech` have
    one entry per window and are complete once every window was read. Without `tells_logprobs` a
    reading knows only the mean of its tokens' log-probabilities, and `align` tells each.
    """

    tells_logprobs: bool
    languages: list[str]
    language_probabilities: list[float | None]
    no_speech: list[float]

    def read(self, windows: Sequence[int], rung: Rung) -> list[Hypothesis]:
        """See `ladder.Decode`."""
        ...

    def align(self, windows: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Alignment]:
        """Place the text tokens of each of `windows`."""
        ...


def room(last_step: int, prefix: int, max_tokens: int) -> int:
    """Tokens that a window's text may take: nobody says more in its time.

    `last_step` is the window's end in steps of 0.02 s, `prefix` the number of tokens before the
    text, `max_tokens` the length of the decoder's context.
    """
    enough = _TOKENS_AT_LEAST + round(last_step * STEP_S * _TOKENS_PER_SECOND)
    return min(max_tokens - prefix, enough)


def steps_of(n_samples: int) -> int:
    """The last timestamp of a window of `n_samples`, in steps of 0.02 s."""
    return -(-n_samples // STEP_SAMPLES)


class Reader:
    """The `Hearing` of an engine that decodes step by step, over its `Sound`.

    `heads` follow the sound, `max_tokens` is the length of the decoder's context, `lengths` are
    those of the windows in samples.
    """

    tells_logprobs = True

    def __init__(
        self,
        sound: Sound,
        vocabulary: Vocabulary,
        heads: Heads,
        options: DecodeOptions,
        max_tokens: int,
        lengths: Sequence[int],
        stop: Stop,
        search: Search | None = None,
    ) -> None:
        """`search` is another than that over the logits of `sound`."""
        self._sound = sound
        self._search = search or HostSearch(sound)
        self._vocabulary = vocabulary
        self._heads = heads
        self._decode = options
        self._stop = stop
        self._max_tokens = max_tokens
        self._prompt = vocabulary.prompt(options.prompt, max_tokens // 2 - 1)
        self._last_steps = [steps_of(n_samples) for n_samples in lengths]
        self.languages: list[str] = []
        self.language_probabilities: list[float | None] = []
        self.no_speech: list[float] = []
        self._first_impression(len(lengths))

    def read(self, windows: Sequence[int], rung: Rung) -> list[Hypothesis]:
        """See `Hearing.read`."""
        prefixes = [
            [
                *self._prompt,
                *self._vocabulary.prefix(
                    self.languages[i], self._decode.task, timestamps=rung.timestamps
                ),
            ]
            for i in windows
        ]
        rules = LogitRules(self._vocabulary, self._last_steps, timestamps=rung.timestamps)
        rooms = [room(self._last_steps[i], len(prefixes[0]), self._max_tokens) for i in windows]
        task = Task(windows, prefixes, self._vocabulary.end, rooms)
        if rung.temperature == 0 and self._decode.beam_size > 1:
            return self._search.beam_search(task, rules, self._decode.beam_size, self._stop)
        return self._search.sample(task, rules, rung.temperature, self._stop)

    def align(self, windows: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Alignment]:
        """See `Hearing.align`."""
        found = []
        for window, text in zip(windows, texts, strict=True):
            prefix = self._vocabulary.prefix(
                self.languages[window], self._decode.task, timestamps=False
            )
            tokens = [*prefix, *text, self._vocabulary.end]
            frames = max(1, self._last_steps[window])
            attention = self._sound.attention(window, tokens, self._heads, frames)
            found.append(Alignment(token_borders(attention, len(prefix))))
        return found

    def _first_impression(self, windows: int) -> None:
        """What the model expects after its start token alone: no speech, or which language."""
        start = np.full((windows, 1), self._vocabulary.start, dtype=np.int64)
        logits = self._sound.steps(range(windows)).feed(start)
        silence = logits[:, self._vocabulary.no_speech] - log_sum_exp(logits)
        self.no_speech = np.exp(silence).tolist()
        if self._decode.language != "auto" or not self._vocabulary.languages:
            language = "en" if self._decode.language == "auto" else self._decode.language
            self.languages = [language] * windows
            self.language_probabilities = [None] * windows
            return
        known = self._vocabulary.languages
        codes = [code for code in known if code in self._decode.languages] or list(known)
        spoken = logits[:, [known[code] for code in codes]]
        self.languages = [codes[i] for i in spoken.argmax(axis=1)]
        self.language_probabilities = np.exp(spoken.max(axis=1) - log_sum_exp(spoken)).tolist()
