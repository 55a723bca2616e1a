"""Whisper's encoder and decoder in plain torch, with what training needs beside the logits.

Parameter names equal those of `transformers.WhisperForConditionalGeneration`, so a state dict
moves over unchanged. Unlike that class it returns cross-attention weights cheaply, accepts windows
shorter than 30 s at any position of the 30 s, and carries training heads on the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CTC_ALPHABET = " абвгдежзийклмнопрстуфхцчшщъыьэюя"
CTC_BLANK = len(CTC_ALPHABET)
FRAME_WORDS = 1200


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    width: int = 192
    heads: int = 3
    encoder_layers: int = 4
    decoder_layers: int = 2
    mels: int = 80
    source_positions: int = 1500
    target_positions: int = 448


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed encoder positions, shape (length, channels)."""
    rates = torch.exp(-torch.arange(channels // 2) * (9.210340371976184 / (channels // 2 - 1)))
    phase = torch.arange(length)[:, None] * rates[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


class Attention(nn.Module):
    """Multi-head attention; keys have no bias, as in Whisper."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor, causal: bool = False) -> Tensor:
        query, key, value = map(
            self._split, (self.q_proj(x), self.k_proj(memory), self.v_proj(memory))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def with_weights(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Also return log attention, shape (batch, heads, queries, keys), float32."""
        query, key, value = map(
            self._split, (self.q_proj(x), self.k_proj(memory), self.v_proj(memory))
        )
        scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
        log_weights = scores.float().log_softmax(-1)
        mixed = log_weights.exp().to(value.dtype) @ value
        return self.out_proj(mixed.transpose(1, 2).reshape(x.shape)), log_weights


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, 4 * shape.width)
        self.fc2 = nn.Linear(4 * shape.width, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, dropout: float) -> Tensor:
        y = self.self_attn_layer_norm(x)
        x = x + F.dropout(self.self_attn(y, y), dropout, self.training)
        y = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + F.dropout(y, dropout, self.training)


class DecoderLayer(nn.Module):
    """Pre-norm causal self-attention, cross-attention, MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.encoder_attn = Attention(shape.width, shape.heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, 4 * shape.width)
        self.fc2 = nn.Linear(4 * shape.width, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, memory: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        y = self.self_attn_layer_norm(x)
        x = x + F.dropout(self.self_attn(y, y, causal=True), dropout, self.training)
        y, weights = self.encoder_attn.with_weights(self.encoder_attn_layer_norm(x), memory)
        x = x + F.dropout(y, dropout, self.training)
        y = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + F.dropout(y, dropout, self.training), weights


class Encoder(nn.Module):
    """Log-mel (batch, mels, 2 * frames) -> states (batch, frames, width)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.mels, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(shape.source_positions, shape.width)
        self.embed_positions.weight.data = sinusoids(shape.source_positions, shape.width)
        self.embed_positions.weight.requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, mel: Tensor, first_frame: int, dropout: float) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[first_frame : first_frame + x.shape[1]]
        x = F.dropout(x, dropout, self.training)
        for layer in self.layers:
            x = layer(x, dropout)
        return self.layer_norm(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Tokens (batch, length) and states -> logits and the log cross-attention of each layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.embed_positions = nn.Embedding(shape.target_positions, shape.width)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.04)
        nn.init.normal_(self.embed_positions.weight, std=0.02)
        # A timestamp token looks like the encoder's position of its own frame: neighbours in time
        # are neighbours in meaning, and to name a time the decoder only has to pass it through.
        times = sinusoids(shape.source_positions + 1, shape.width) * 0.12
        self.embed_tokens.weight.data[-len(times) :] = times

    def forward(
        self, tokens: Tensor, memory: Tensor, dropout: float
    ) -> tuple[Tensor, list[Tensor]]:
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        x = F.dropout(x, dropout, self.training)
        attention = []
        for layer in self.layers:
            x, weights = layer(x, memory, dropout)
            attention.append(weights)
        return F.linear(self.layer_norm(x), self.embed_tokens.weight), attention


@torch.no_grad()
def look_nearby(attention: Attention, shifts: tuple[int, ...], gain: float = 0.85) -> None:
    """Make each head of an untrained encoder layer attend around its own shift in frames.

    Queries and keys pick the same sinusoids out of the position signal, the query turned by the
    shift, so their product is a sum of cosines that peaks there. A transformer otherwise spends
    most of a short training on discovering that speech is local.
    """
    width = attention.q_proj.weight.shape[1]
    half, size = width // 2, width // attention.heads
    picked = (torch.arange(size // 2) * 1.4).round().long()
    rates = torch.exp(-picked * (9.210340371976184 / (half - 1)))
    rows = torch.arange(size // 2)
    for head, shift in enumerate(shifts):
        query = attention.q_proj.weight[head * size : (head + 1) * size]
        key = attention.k_proj.weight[head * size : (head + 1) * size]
        sine, cosine = gain * torch.sin(rates * shift), gain * torch.cos(rates * shift)
        query[rows, picked] += cosine
        query[rows, half + picked] -= sine
        query[rows + size // 2, half + picked] += cosine
        query[rows + size // 2, picked] += sine
        key[rows, picked] += gain
        key[rows + size // 2, half + picked] += gain


class Network(nn.Module):
    """Encoder and decoder, and two heads on the encoder that only training uses.

    `ctc` spells the letters, `frame_words` names the word spoken in each frame.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        self.ctc = nn.Linear(shape.width, len(CTC_ALPHABET) + 1)
        self.frame_words = nn.Linear(shape.width, FRAME_WORDS)
        # The position signal has unit amplitude; without this the sound would be a whisper in it.
        self.encoder.conv1.weight.data *= 2
        self.encoder.conv2.weight.data *= 4
        for layer, reach in zip(self.encoder.layers[:3], (3, 6, 12), strict=False):
            offsets = torch.linspace(-reach, reach, shape.heads).round().int().tolist()
            look_nearby(layer.self_attn, tuple(offsets))

    def whisper_state(self) -> dict[str, Tensor]:
        """Return the weights under the names of `WhisperForConditionalGeneration`."""
        state = {
            k: v for k, v in self.state_dict().items() if k.startswith(("encoder.", "decoder."))
        }
        return {f"model.{name}": tensor.detach().clone() for name, tensor in state.items()}
