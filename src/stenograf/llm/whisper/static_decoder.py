"""A Whisper decoder whose steps have constant shapes, over the weights of a transformers model.

Rows stand in groups, as many in each as a window has beams, so that all beams of a window read
its keys and values of the sound together. Memory is there once; what a step needs beside it is in
tensors that stay where they are, so that `step` can be recorded (`graphs.py`).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import WhisperForConditionalGeneration

from stenograf.llm.whisper.sound_slots import SoundSlots


@dataclass(frozen=True)
class Shapes:
    """The sizes that steps are rounded up to: fewer sizes, fewer recordings; finer, less waste.

    Empty `windows` round nothing. `lengths` are of the text, the last is the model's context.
    """

    windows: tuple[int, ...]
    lengths: tuple[int, ...]

    def windows_for(self, count: int) -> int:
        """Windows that are computed for `count` of them."""
        return next((size for size in self.windows if size >= count), count)

    def length_for(self, count: int) -> int:
        """Positions that are looked at where `count` are filled."""
        return next(length for length in self.lengths if length >= count)


def shapes_for(device: torch.device, context: int) -> Shapes:
    """Few sizes where steps are recorded, fine ones where each is launched anyway."""
    recorded = device.type == "cuda"
    grain = 128 if recorded else 32
    windows = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64) if recorded else ()
    return Shapes(windows, (*range(grain, context, grain), context))


class StaticDecoder:
    """Keys and values of some rows of text, and the computation of the next position's logits.

    Row `w * beams + b` is beam b of the window in slot w. `tokens`, int64 (rows,), is what the
    next `step` feeds.
    """

    def __init__(self, model: WhisperForConditionalGeneration, shapes: Shapes) -> None:
        self._decoder = model.model.decoder
        self._to_logits = model.proj_out
        self.device, self.dtype = model.device, model.dtype
        self.context = int(model.config.max_target_positions)
        self.vocabulary = int(model.config.vocab_size)
        self._shapes = shapes
        attention = self._decoder.layers[0].self_attn
        self._heads, self._head_size = int(attention.num_heads), int(attention.head_dim)
        weight = attention.k_proj.weight
        self.sound = SoundSlots(
            len(self._decoder.layers),
            self._heads,
            int(model.config.max_source_positions),
            self._head_size,
            weight,
        )
        self._cache = weight.new_zeros((0,))
        self.tokens = torch.zeros(0, dtype=torch.int64, device=self.device)
        self._position = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._filled = 0
        self.windows, self.beams = 0, 1
        self._range = torch.arange(self.context, device=self.device)

    @property
    def rows(self) -> int:
        """Rows of a step."""
        return self.windows * self.beams

    @property
    def capacity(self) -> int:
        """Rows there is memory for."""
        return int(self.tokens.shape[0])

    @property
    def room(self) -> int:
        """Positions that may still be fed."""
        return self.context - self._filled

    @property
    def state(self) -> list[torch.Tensor]:
        """What a step changes beside the cache, where it only writes its own position."""
        return [self._position, self.tokens]

    def hear(self, states: torch.Tensor) -> bool:
        """Take the encoder's output, (windows, frames, d_model), as windows 0, 1, …; True if
        memory moved, so that no recording may be replayed."""
        count = states.shape[0]
        moved = self.sound.reserve(self._shapes.windows_for(count))
        self.sound.hold(self.sound.capacity)
        for number, layer in enumerate(self._decoder.layers):
            keys, values = self.sound.layer(number, count)
            keys.copy_(self._split(layer.encoder_attn.k_proj(states), count))
            values.copy_(self._split(layer.encoder_attn.v_proj(states), count))
        return moved

    def reserve(self, rows: int) -> bool:
        """Have room for so many rows; True if memory moved and what was in it is gone."""
        if rows <= self.capacity:
            return False
        layers = len(self._decoder.layers)
        self._cache = self._cache.new_zeros((0,))  # give back first
        shape = (layers, 2, rows, self._heads, self.context, self._head_size)
        self._cache = self._cache.new_zeros(shape)
        self.tokens = self.tokens.new_zeros(rows)
        return True

    def rows_for(self, windows: int, beams: int) -> int:
        """Rows that are computed for so many windows."""
        return self._shapes.windows_for(windows) * beams

    def begin(self, prefixes: torch.Tensor) -> torch.Tensor:
        """Feed the beginning of each window's text, int64 (windows, n), of those in the first
        slots; float32 logits behind it, (rows, vocabulary), those of padding rows meaningless."""
        count, length = prefixes.shape
        self.windows, self.beams = self._shapes.windows_for(count), 1
        padded = prefixes[:1].expand(self.windows, length).clone()
        padded[:count] = prefixes
        self._filled = length
        states = self._states(padded, self._range[:length], self._shapes.length_for(length))
        self._position.fill_(length)
        return self._logits(states)

    def rearrange(self, windows: int, beams: int, parents: torch.Tensor | None) -> None:
        """Go on with `windows` slots of `beams` rows each; row i continues row `parents[i]`,
        int64 (rows,), or itself where there are none given."""
        self.windows, self.beams = self._shapes.windows_for(windows), beams
        if parents is not None:
            cache = self._cache[..., : self._filled, :]
            cache[:, :, : parents.shape[0]] = cache.index_select(2, parents)

    def advance(self) -> int:
        """Make room for one position; the length that the next `step` has to look at."""
        self._filled += 1
        return self._shapes.length_for(self._filled)

    def step(self, length: int) -> torch.Tensor:
        """Feed `tokens` at the next position; float32 logits, (rows, vocabulary)."""
        tokens = self.tokens[: self.rows, None]
        states = self._states(tokens, self._position, length)
        self._position.add_(1)
        return self._logits(states)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._to_logits(states[:, -1]).float()
        return logits

    def _states(self, tokens: torch.Tensor, positions: torch.Tensor, length: int) -> torch.Tensor:
        """Feed tokens, (rows, n), at `positions`, (n,); their states, (rows, n, d_model)."""
        decoder = self._decoder
        ahead = self._range[:length] > positions[:, None]
        mask = torch.zeros(ahead.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(ahead, float("-inf"))
        states = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[positions]
        for number, layer in enumerate(decoder.layers):
            normed = layer.self_attn_layer_norm(states)
            states = states + self._text(number, layer.self_attn, normed, positions, mask)
            normed = layer.encoder_attn_layer_norm(states)
            states = states + self._listen(number, layer.encoder_attn, normed)
            inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(states)))
            states = states + layer.fc2(inner)
        normed_states: torch.Tensor = decoder.layer_norm(states)
        return normed_states

    def _text(
        self,
        number: int,
        attention: nn.Module,
        states: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Self-attention: what is fed is written down, then all that is written is read."""
        rows = states.shape[0]
        queries = self._split(attention.q_proj(states) * attention.scaling, rows)
        keys, values = self._cache[number, :, :rows]
        keys.index_copy_(2, positions, self._split(attention.k_proj(states), rows))
        values.index_copy_(2, positions, self._split(attention.v_proj(states), rows))
        length = mask.shape[1]
        found = scaled_dot_product_attention(
            queries, keys[:, :, :length], values[:, :, :length], attn_mask=mask, scale=1.0
        )
        out: torch.Tensor = attention.out_proj(found.transpose(1, 2).flatten(2))
        return out

    def _listen(self, number: int, attention: nn.Module, states: torch.Tensor) -> torch.Tensor:
        """Cross-attention: the rows of a window are so many queries of it."""
        queries = self._split(attention.q_proj(states) * attention.scaling, self.windows)
        keys, values = self.sound.layer(number, self.windows)
        found = scaled_dot_product_attention(queries, keys, values, scale=1.0)
        heard = found.transpose(1, 2).reshape(states.shape)
        out: torch.Tensor = attention.out_proj(heard)
        return out

    def _split(self, states: torch.Tensor, batch: int) -> torch.Tensor:
        """Heads apart: (batch, heads, n, head size)."""
        return states.reshape(batch, -1, self._heads, self._head_size).transpose(1, 2)
