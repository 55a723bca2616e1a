"""Where the decoder finds the sound: keys and values of windows, in memory that stays in place.

Decoding of some windows needs theirs at the front, so windows change places; nothing is copied as
long as the same ones go on.
"""

from collections.abc import Sequence

import torch


class SoundSlots:
    """Keys and values of cross-attention, (layers, 2, slots, heads, frames, head size)."""

    def __init__(
        self, layers: int, heads: int, frames: int, head_size: int, like: torch.Tensor
    ) -> None:
        """Device and number format are those of `like`."""
        self._layers = layers
        self._shape = (heads, frames, head_size)
        self._like = like
        self._data = self._of(0)
        self._window_in: list[int] = []

    @property
    def capacity(self) -> int:
        """Windows there is memory for."""
        return int(self._data.shape[2])

    def reserve(self, capacity: int) -> bool:
        """Have room for `capacity` windows; True if the memory is another now, and empty."""
        if capacity <= self.capacity:
            return False
        self._data = self._of(0)  # give back first
        self._data = self._of(capacity)
        return True

    def hold(self, windows: int) -> None:
        """The next keys and values are those of windows 0 … `windows` - 1, in order."""
        self._window_in = list(range(windows))

    def layer(self, layer: int, windows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values in the first slots, views of (windows, heads, frames, head size)."""
        keys, values = self._data[layer, :, :windows]
        return keys, values

    def seat(self, windows: Sequence[int]) -> list[int]:
        """Bring these windows into the first slots, with as few moves as possible; their order."""
        wanted = set(windows)
        free = [slot for slot in range(len(windows)) if self._window_in[slot] not in wanted]
        for window in windows:
            slot = self._window_in.index(window)
            if slot >= len(windows):
                self._swap(slot, free.pop(0))
        return self._window_in[: len(windows)]

    def slot_of(self, window: int) -> int:
        """Where a window is now."""
        return self._window_in.index(window)

    def _swap(self, one: int, other: int) -> None:
        kept = self._data[:, :, one].clone()
        self._data[:, :, one].copy_(self._data[:, :, other])
        self._data[:, :, other].copy_(kept)
        inside = self._window_in
        inside[one], inside[other] = inside[other], inside[one]

    def _of(self, capacity: int) -> torch.Tensor:
        return self._like.new_zeros((self._layers, 2, capacity, *self._shape))
