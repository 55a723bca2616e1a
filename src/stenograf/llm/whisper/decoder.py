"""Encoder and decoder of a transformers Whisper model, reduced to what a search needs.

The encoder runs once per window. Its output becomes the keys and values of cross-attention once,
and every later use (language, no-speech, each temperature, word times) shares them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration
from transformers.cache_utils import DynamicLayer

from stenograf.llm.whisper.alignment_heads import Heads

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]
"""Per decoder layer: keys and values, each (windows, heads, frames, head size)."""


class Steps:
    """Decoding of some rows side by side: feed tokens, read logits, reorder, drop rows."""

    def __init__(self, model: WhisperForConditionalGeneration, cross: KeysValues) -> None:
        self._model = model
        layers = []
        for keys, values in cross:
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            layers.append(layer)
        shared = DynamicCache()
        shared.layers = layers
        self._cache = EncoderDecoderCache(DynamicCache(), shared)
        # the decoder looks at this tensor's presence only: its keys are in the cache
        self._placeholder = cross[0][0].new_zeros((cross[0][0].shape[0], 1, 1))

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

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """float32 logits, (..., vocabulary), of decoder states, (..., d_model)."""
        logits: torch.Tensor = self._model.proj_out(states)
        return logits.float()

    def feed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Feed tokens, (rows, n); logits after the last, float32 (rows, vocabulary)."""
        return self.logits(self.hidden(tokens)[:, -1])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self._cache.batch_select_indices(self._index(rows))
        self._placeholder = self._placeholder[: len(rows)]

    def reorder(self, rows: Sequence[int]) -> None:
        """Let rows continue others of the same window, which share their sound."""
        self._cache.self_attention_cache.batch_select_indices(self._index(rows))

    def _index(self, rows: Sequence[int]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self._placeholder.device)


class Sound:
    """Some windows as the decoder hears them."""

    def __init__(self, model: WhisperForConditionalGeneration, cross: KeysValues) -> None:
        self._model = model
        self._cross = cross

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._cross[0][0].device

    def steps(self, windows: Sequence[int]) -> Steps:
        """Begin to decode these windows, one row each."""
        if list(windows) == list(range(self._cross[0][0].shape[0])):
            return Steps(self._model, self._cross)
        index = torch.tensor(windows, dtype=torch.long, device=self.device)
        return Steps(self._model, [(keys[index], values[index]) for keys, values in self._cross])

    def beams(self, window: int, beams: int) -> Steps:
        """Begin to decode one window in `beams` rows; they share its memory."""
        one = slice(window, window + 1)
        return Steps(
            self._model,
            [
                (keys[one].expand(beams, -1, -1, -1), values[one].expand(beams, -1, -1, -1))
                for keys, values in self._cross
            ],
        )

    def attention(
        self, window: int, tokens: Sequence[int], heads: Heads, frames: int
    ) -> torch.Tensor:
        """Cross-attention while one window's tokens are read, float32 (heads, tokens, frames).

        Only the first `frames` encoder frames take part, so attention sums to 1 over them.
        """
        queries: dict[int, torch.Tensor] = {}
        hooks = [self._listen(layer, queries) for layer in sorted({layer for layer, _ in heads})]
        try:
            steps = (
                self.steps([window]) if self._cross[0][0].shape[0] > 1 else self.beams(window, 1)
            )
            steps.hidden(torch.tensor([list(tokens)], device=self.device))
        finally:
            for hook in hooks:
                hook.remove()
        maps = []
        for layer, head in heads:
            keys = self._cross[layer][0][window, head, :frames].float()
            size = keys.shape[-1]
            query = queries[layer][0, :, head * size : (head + 1) * size].float()
            maps.append(torch.softmax(query @ keys.T * size**-0.5, dim=-1))
        return torch.stack(maps)

    def _listen(self, layer: int, queries: dict[int, torch.Tensor]) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            queries[layer] = output

        projection = self._model.model.decoder.layers[layer].encoder_attn.q_proj
        return projection.register_forward_hook(keep)


def listen(model: WhisperForConditionalGeneration, features: torch.Tensor) -> Sound:
    """Run the encoder over log-mel features, (windows, mels, frames)."""
    states = model.model.encoder(features).last_hidden_state
    cross = []
    for layer in model.model.decoder.layers:
        attention = layer.encoder_attn
        shape = (states.shape[0], -1, attention.num_heads, attention.head_dim)
        keys = attention.k_proj(states).view(shape).transpose(1, 2).contiguous()
        values = attention.v_proj(states).view(shape).transpose(1, 2).contiguous()
        cross.append((keys, values))
    return Sound(model, cross)
