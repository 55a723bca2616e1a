"""The sound of windows in the slots of a `StaticDecoder`, for what is not decoding of text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import WhisperForConditionalGeneration

from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.decoder import TorchSound, TorchSteps
from stenograf.llm.whisper.sound_slots import SoundSlots


class StaticSound:
    """`sound.Sound` over the first `windows` windows in `slots`, wherever each is by now."""

    beam_group = 1

    def __init__(
        self, model: WhisperForConditionalGeneration, slots: SoundSlots, windows: int
    ) -> None:
        layers = len(model.model.decoder.layers)
        cross = [slots.layer(layer, windows) for layer in range(layers)]
        self._sound = TorchSound(model, cross)
        self._slots = slots

    def steps(self, windows: Sequence[int]) -> TorchSteps:
        """See `Sound.steps`."""
        return self._sound.steps([self._slots.slot_of(window) for window in windows])

    def attention(
        self, window: int, tokens: Sequence[int], heads: Heads, frames: int
    ) -> NDArray[np.float32]:
        """See `Sound.attention`."""
        return self._sound.attention(self._slots.slot_of(window), tokens, heads, frames)
