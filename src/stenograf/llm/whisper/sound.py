"""The seam under a search: some windows that the encoder has heard, decoded step by step.

An engine that can feed tokens and read logits supplies these two; search, grammar, fallback and
word times stand above them, in numpy, once for all.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stenograf.llm.whisper.alignment_heads import Heads

Logits = NDArray[np.float32]
"""float32, (rows, vocabulary); the search may overwrite it until the next step."""


class Steps(Protocol):
    """Decoding of some rows side by side; each row belongs to a window."""

    def feed(self, tokens: NDArray[np.int64]) -> Logits:
        """Feed tokens, (rows, n), behind all fed before; logits after the last of each row."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order; left out ones are dropped, one may come twice."""
        ...


class Sound(Protocol):
    """Some windows as the decoder hears them."""

    @property
    def beam_group(self) -> int:
        """Windows whose beams are decoded together; 1 where each row costs its own memory."""
        ...

    def steps(self, windows: Sequence[int]) -> Steps:
        """Begin to decode these windows, one row each."""
        ...

    def attention(
        self, window: int, tokens: Sequence[int], heads: Heads, frames: int
    ) -> NDArray[np.float32]:
        """Cross-attention while one window's tokens are read, float32 (heads, tokens, frames).

        Only the first `frames` encoder frames take part, so attention sums to 1 over them.
        """
        ...
