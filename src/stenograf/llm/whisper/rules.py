"""Which tokens may come next: Whisper's grammar of text and timestamps, applied to logits.

The rules are those of the Whisper paper's reference decoder (section 4.5 of Radford et al. 2022 and
its published code), with one more: no timestamp lies behind the end of the sound.
"""

from collections.abc import Sequence

import numpy as np

from stenograf.llm.whisper.sound import Logits
from stenograf.llm.whisper.vocabulary import Vocabulary

STEP_S = 0.02  # between neighbouring timestamp tokens
_NEVER = float("-inf")


class LogitRules:
    """Masks logits, shape (rows, vocabulary), in place.

    `last_steps` holds for each window the last timestamp inside its sound, in steps of 0.02 s.
    Without `timestamps` only the suppressed tokens are masked: those of `never`, and of
    `never_first` before anything is written.
    """

    def __init__(
        self, vocabulary: Vocabulary, last_steps: Sequence[int], *, timestamps: bool
    ) -> None:
        self.vocabulary = vocabulary
        self.last_steps = last_steps
        self.timestamps = timestamps
        never = [token for token in vocabulary.suppress if token != vocabulary.end]
        self.never = np.array(never, dtype=np.int64)
        self.never_first = np.array(vocabulary.suppress_first, dtype=np.int64)

    def apply(
        self, logits: Logits, written: Sequence[Sequence[int]], windows: Sequence[int]
    ) -> None:
        """Mask `logits` given what each row has written; `windows` are those of the rows."""
        begin, end = self.vocabulary.timestamp_begin, self.vocabulary.end
        logits[:, self.never] = _NEVER
        # start, languages, tasks, no speech, no timestamps …
        logits[:, end + 1 : begin if self.timestamps else None] = _NEVER
        for row, tokens, window in zip(logits, written, windows, strict=True):
            if not tokens:
                row[self.never_first] = _NEVER
            if self.timestamps:
                self._grammar(row, tokens, self.last_steps[window])

    def _grammar(self, logits: Logits, tokens: Sequence[int], last_step: int) -> None:
        begin = self.vocabulary.timestamp_begin
        logits[begin + last_step + 1 :] = _NEVER
        if not tokens:
            logits[:begin] = _NEVER
            logits[begin + min(self.vocabulary.latest_first_step, last_step) + 1 :] = _NEVER
            return
        stamps = [token for token in tokens if token >= begin]
        after_stamp = tokens[-1] >= begin
        opened = after_stamp and (len(tokens) < 2 or tokens[-2] >= begin)
        closed = after_stamp and not opened
        if opened:
            logits[begin:] = _NEVER  # a phrase has begun: now its text
        if closed:
            logits[: self.vocabulary.end] = _NEVER  # it has ended: the next begins, or nothing
        if stamps:
            # time never runs back, and a phrase is longer than nothing
            logits[begin : stamps[-1] + (0 if closed else 1)] = _NEVER
        self._prefer_stamp(logits, begin)

    @staticmethod
    def _prefer_stamp(logits: Logits, begin: int) -> None:
        """Where all timestamps together are likelier than the likeliest text, it is one of them."""
        text = logits[:begin].max()
        with np.errstate(over="ignore"):
            stamps = np.exp(logits[begin:] - text).sum() if text > _NEVER else np.inf
        if stamps > 1:
            logits[:begin] = _NEVER
