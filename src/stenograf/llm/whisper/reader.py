"""Reads the windows of one batch: first impression once, text once per rung of the ladder."""

from collections.abc import Sequence

import torch

from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import Stop
from stenograf.llm.whisper.decoder import Sound
from stenograf.llm.whisper.ladder import Rung
from stenograf.llm.whisper.phrases import STEP_SAMPLES
from stenograf.llm.whisper.rules import STEP_S, LogitRules
from stenograf.llm.whisper.search import Hypothesis, Task, beam_search, sample
from stenograf.llm.whisper.vocabulary import Vocabulary

_TOKENS_AT_LEAST = 50
_TOKENS_PER_SECOND = 25  # twice the fastest Russian, timestamps included


class Reader:
    """One batch of windows: `languages`, `language_probabilities` (None where the language was
    given) and `no_speech` are known at once, `read` gives text.

    `max_tokens` is the length of the decoder's context, `lengths` are those of the windows in
    samples.
    """

    def __init__(
        self,
        sound: Sound,
        vocabulary: Vocabulary,
        options: DecodeOptions,
        max_tokens: int,
        lengths: Sequence[int],
        stop: Stop,
    ) -> None:
        self._sound = sound
        self._vocabulary = vocabulary
        self._decode = options
        self._stop = stop
        self._max_tokens = max_tokens
        self._prompt = vocabulary.prompt(options.prompt, max_tokens // 2 - 1)
        self._last_steps = [-(-n_samples // STEP_SAMPLES) for n_samples in lengths]
        self.languages: list[str] = []
        self.language_probabilities: list[float | None] = []
        self.no_speech: list[float] = []
        self._first_impression(len(lengths))

    def read(self, windows: Sequence[int], rung: Rung) -> list[Hypothesis]:
        """See `ladder.Decode`."""
        prefixes = [
            [
                *self._prompt,
                *self._vocabulary.prefix(
                    self.languages[i], self._decode.task, timestamps=rung.timestamps
                ),
            ]
            for i in windows
        ]
        rules = LogitRules(
            self._vocabulary,
            self._last_steps,
            timestamps=rung.timestamps,
            device=self._sound.device,
        )
        room = [self._room(i, len(prefixes[0])) for i in windows]
        task = Task(windows, prefixes, self._vocabulary.end, room)
        if rung.temperature == 0 and self._decode.beam_size > 1:
            return beam_search(self._sound, task, rules, self._decode.beam_size, self._stop)
        return sample(self._sound, task, rules, rung.temperature, self._stop)

    def _room(self, window: int, prefix: int) -> int:
        """Tokens that the window's text may take: nobody says more in its time."""
        seconds = self._last_steps[window] * STEP_S
        enough = _TOKENS_AT_LEAST + round(seconds * _TOKENS_PER_SECOND)
        return min(self._max_tokens - prefix, enough)

    def _first_impression(self, windows: int) -> None:
        """What the model expects after its start token alone: no speech, or which language."""
        start = torch.full((windows, 1), self._vocabulary.start, device=self._sound.device)
        logits = self._sound.steps(range(windows)).feed(start)
        chances = torch.softmax(logits, dim=-1)
        self.no_speech = chances[:, self._vocabulary.no_speech].tolist()
        if self._decode.language != "auto" or not self._vocabulary.languages:
            language = "en" if self._decode.language == "auto" else self._decode.language
            self.languages = [language] * windows
            self.language_probabilities = [None] * windows
            return
        codes = list(self._vocabulary.languages)
        ids = list(self._vocabulary.languages.values())
        best = torch.softmax(logits[:, ids], dim=-1).max(dim=-1)
        self.languages = [codes[i] for i in best.indices.tolist()]
        self.language_probabilities = list(best.values.tolist())
