"""Encoder and decoder of a transformers Whisper model, reduced to what a search needs.

The encoder runs once per window. Its output becomes the keys and values of cross-attention once,
and every later use (language, no-speech, each temperature, word times) shares them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration
from transformers.cache_utils import DynamicLayer

from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.sound import Logits

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]
"""Per decoder layer: keys and values, each (windows, heads, frames, head size)."""


class TorchSteps:
    """`sound.Steps` over a transformers decoder."""

    def __init__(
        self, model: WhisperForConditionalGeneration, cross: KeysValues, windows: Sequence[int]
    ) -> None:
        self._model = model
        self._all = cross
        self._windows = list(windows)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._share()

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Feed tokens, (rows, n), after all fed before; their states, (rows, n, d_model)."""
        output = self._model.model.decoder(
            input_ids=tokens,
            encoder_hidden_states=self._placeholder,
            past_key_values=self._cache,
            use_cache=True,
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    def feed(self, tokens: NDArray[np.int64]) -> Logits:
        """See `Steps.feed`."""
        states = self.hidden(torch.from_numpy(tokens).to(self._placeholder.device))
        logits: Logits = self._model.proj_out(states[:, -1]).float().cpu().numpy()
        return logits

    def select(self, rows: Sequence[int]) -> None:
        """See `Steps.select`."""
        index = torch.tensor(rows, dtype=torch.long, device=self._placeholder.device)
        self._cache.self_attention_cache.batch_select_indices(index)
        windows = [self._windows[row] for row in rows]
        if windows != self._windows:
            self._windows = windows
            self._share()

    def _share(self) -> None:
        """Give every row its window's keys and values, without a copy where that is possible."""
        layers = []
        for keys, values in self._all:
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = self._of_rows(keys), self._of_rows(values)
            layers.append(layer)
        self._cache.cross_attention_cache.layers = layers
        self._cache.is_updated = dict.fromkeys(range(len(layers)), True)
        # the decoder looks at this tensor's presence only: its keys are in the cache
        self._placeholder = self._all[0][0].new_zeros((len(self._windows), 1, 1))

    def _of_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._windows == list(range(tensor.shape[0])):
            return tensor
        first = self._windows[0]
        if all(window == first for window in self._windows):
            return tensor[first : first + 1].expand(len(self._windows), -1, -1, -1)
        return tensor[torch.tensor(self._windows, dtype=torch.long, device=tensor.device)]


class TorchSound:
    """`sound.Sound` over a transformers model."""

    beam_group = 1  # beams of several windows would copy the keys and values of each

    def __init__(self, model: WhisperForConditionalGeneration, cross: KeysValues) -> None:
        self._model = model
        self._cross = cross

    def steps(self, windows: Sequence[int]) -> TorchSteps:
        """See `Sound.steps`."""
        return TorchSteps(self._model, self._cross, windows)

    def attention(
        self, window: int, tokens: Sequence[int], heads: Heads, frames: int
    ) -> NDArray[np.float32]:
        """See `Sound.attention`."""
        queries: dict[int, torch.Tensor] = {}
        hooks = [self._listen(layer, queries) for layer in sorted({layer for layer, _ in heads})]
        try:
            self.steps([window]).hidden(
                torch.tensor([list(tokens)], device=self._cross[0][0].device)
            )
        finally:
            for hook in hooks:
                hook.remove()
        maps = []
        for layer, head in heads:
            keys = self._cross[layer][0][window, head, :frames].float()
            size = keys.shape[-1]
            query = queries[layer][0, :, head * size : (head + 1) * size].float()
            maps.append(torch.softmax(query @ keys.T * size**-0.5, dim=-1))
        attention: NDArray[np.float32] = torch.stack(maps).cpu().numpy()
        return attention

    def _listen(self, layer: int, queries: dict[int, torch.Tensor]) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            queries[layer] = output

        projection = self._model.model.decoder.layers[layer].encoder_attn.q_proj
        return projection.register_forward_hook(keep)


def listen(model: WhisperForConditionalGeneration, features: torch.Tensor) -> TorchSound:
    """Run the encoder over log-mel features, (windows, mels, frames)."""
    states = model.model.encoder(features).last_hidden_state
    cross = []
    for layer in model.model.decoder.layers:
        attention = layer.encoder_attn
        shape = (states.shape[0], -1, attention.num_heads, attention.head_dim)
        keys = attention.k_proj(states).view(shape).transpose(1, 2).contiguous()
        values = attention.v_proj(states).view(shape).transpose(1, 2).contiguous()
        cross.append((keys, values))
    return TorchSound(model, cross)
