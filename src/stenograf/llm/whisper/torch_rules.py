"""The rules of `rules.py` as tensor operations on the device, without a look from the host.

What a row has written is kept in a few numbers: its last two tokens and its last timestamp. All
rows have written equally many tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch

from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.vocabulary import Vocabulary

_NEVER = float("-inf")


class TorchRules:
    """Masks logits, (rows, vocabulary), in place; rows are the first of at most `capacity`.

    Every tensor stays where it is, so that `apply` and `observe` can be recorded and replayed.
    """

    def __init__(self, vocabulary: Vocabulary, capacity: int, device: torch.device) -> None:
        def numbers(*size: int) -> torch.Tensor:
            return torch.zeros(size, dtype=torch.int64, device=device)

        self._vocabulary = vocabulary
        self._steps = torch.arange(vocabulary.size - vocabulary.timestamp_begin, device=device)
        self._first_bias = torch.zeros(vocabulary.size, device=device)
        self._later_bias = torch.zeros(vocabulary.size, device=device)
        self._written = numbers(1)
        self._last, self._before = numbers(capacity), numbers(capacity)
        self._stamp = numbers(capacity)  # steps of 0.02 s; -1: none yet
        self._last_step = numbers(capacity)

    @property
    def state(self) -> list[torch.Tensor]:
        """What `observe` changes."""
        return [self._written, self._last, self._before, self._stamp]

    def begin(self, rules: LogitRules, windows: Sequence[int]) -> None:
        """Nothing is written yet; row i is of `windows[i]`."""
        begin = self._vocabulary.timestamp_begin
        first, later = _biases(rules)
        self._first_bias.copy_(torch.from_numpy(first))
        self._later_bias.copy_(torch.from_numpy(later))
        last_steps = torch.tensor([rules.last_steps[window] for window in windows])
        self._last_step[: len(windows)].copy_(last_steps)
        self._written.zero_()
        self._last.zero_()
        self._before.fill_(begin)
        self._stamp.fill_(-1)

    def rearrange(self, parents: torch.Tensor) -> None:
        """Row i goes on from what row `parents[i]` has written."""
        rows = parents.shape[0]
        for state in (self._last, self._before, self._stamp, self._last_step):
            state[:rows].copy_(state[parents])

    def observe(self, tokens: torch.Tensor) -> None:
        """Every row has written its token of `tokens`, (rows,)."""
        rows, begin = tokens.shape[0], self._vocabulary.timestamp_begin
        self._before[:rows].copy_(self._last[:rows])
        self._last[:rows].copy_(tokens)
        steps = torch.where(tokens >= begin, tokens - begin, self._stamp[:rows])
        self._stamp[:rows].copy_(steps)
        self._written.add_(1)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask float32 logits given what each row has written, and return them."""
        rows = logits.shape[0]
        begin, end = self._vocabulary.timestamp_begin, self._vocabulary.end
        logits += torch.where(self._written == 0, self._first_bias, self._later_bias)
        after_stamp = self._last[:rows] >= begin
        opened = after_stamp & ((self._written < 2) | (self._before[:rows] >= begin))
        closed = after_stamp & ~opened
        text, stamps = logits[:, :begin], logits[:, begin:]
        text[:, :end].masked_fill_(closed[:, None], _NEVER)
        earliest = self._stamp[:rows] + 1 - closed.long()  # a phrase is longer than nothing
        outside = (self._steps > self._last_step[:rows, None]) | (self._steps < earliest[:, None])
        stamps.masked_fill_(outside | opened[:, None], _NEVER)
        prefer_stamp = torch.logsumexp(stamps, dim=1) > text.amax(dim=1)
        text.masked_fill_(prefer_stamp[:, None], _NEVER)
        return logits


def _biases(rules: LogitRules) -> tuple[np.ndarray, np.ndarray]:
    """What is added to every row's logits: before anything is written, and later. Both float32
    (vocabulary,), 0 or minus infinity."""
    known = rules.vocabulary
    later = np.zeros(known.size, np.float32)
    later[rules.never] = _NEVER
    later[known.end + 1 : known.timestamp_begin if rules.timestamps else None] = _NEVER
    first = later.copy()
    first[rules.never_first] = _NEVER
    if rules.timestamps:
        first[: known.timestamp_begin] = _NEVER
        first[known.timestamp_begin + known.latest_first_step + 1 :] = _NEVER
    return first, later
