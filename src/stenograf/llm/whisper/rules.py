"""Which tokens may come next: Whisper's grammar of text and timestamps, applied to logits.

The rules are those of the Whisper paper's reference decoder (section 4.5 of Radford et al. 2022 and
its published code), with one more: no timestamp lies behind the end of the sound.
"""

from collections.abc import Sequence

import torch

from stenograf.llm.whisper.vocabulary import Vocabulary

STEP_S = 0.02  # between neighbouring timestamp tokens
_NEVER = float("-inf")


class LogitRules:
    """Masks logits, shape (rows, vocabulary), in place.

    `last_steps` holds for each window the last timestamp inside its sound, in steps of 0.02 s.
    Without `timestamps` only the suppressed tokens are masked.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        last_steps: Sequence[int],
        *,
        timestamps: bool,
        device: torch.device,
    ) -> None:
        self._vocabulary = vocabulary
        self._last_steps = last_steps
        self._timestamps = timestamps
        begin, end = vocabulary.timestamp_begin, vocabulary.end
        barred = torch.zeros(vocabulary.size, dtype=torch.bool, device=device)
        barred[list(vocabulary.suppress)] = True
        barred[end + 1 : begin] = True  # start, languages, tasks, no speech, no timestamps …
        barred[end] = False
        if not timestamps:
            barred[begin:] = True
        self._barred = barred
        self._first = torch.tensor(vocabulary.suppress_first, dtype=torch.long, device=device)

    def apply(
        self, logits: torch.Tensor, written: Sequence[Sequence[int]], rows: Sequence[int]
    ) -> None:
        """Mask `logits` given what each row has written; `rows` are the windows they belong to."""
        logits.masked_fill_(self._barred, _NEVER)
        for index, (tokens, row) in enumerate(zip(written, rows, strict=True)):
            if not tokens:
                logits[index, self._first] = _NEVER
            if self._timestamps:
                self._grammar(logits[index], tokens, self._last_steps[row])

    def _grammar(self, logits: torch.Tensor, tokens: Sequence[int], last_step: int) -> None:
        begin = self._vocabulary.timestamp_begin
        logits[begin + last_step + 1 :] = _NEVER
        if not tokens:
            logits[:begin] = _NEVER
            logits[begin + min(self._vocabulary.latest_first_step, last_step) + 1 :] = _NEVER
            return
        stamps = [token for token in tokens if token >= begin]
        after_stamp = tokens[-1] >= begin
        opened = after_stamp and (len(tokens) < 2 or tokens[-2] >= begin)
        closed = after_stamp and not opened
        if opened:
            logits[begin:] = _NEVER  # a phrase has begun: now its text
        if closed:
            logits[: self._vocabulary.end] = _NEVER  # it has ended: the next begins, or nothing
        if stamps:
            # time never runs back, and a phrase is longer than nothing
            logits[begin : stamps[-1] + (0 if closed else 1)] = _NEVER
        self._prefer_stamp(logits, begin)

    @staticmethod
    def _prefer_stamp(logits: torch.Tensor, begin: int) -> None:
        """Where all timestamps together are likelier than the likeliest text, it is one of them."""
        if torch.logsumexp(logits[begin:], 0) > logits[:begin].max():
            logits[:begin] = _NEVER
