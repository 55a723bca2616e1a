"""The same weights in the peers' own formats, each made once beside the checkpoint."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.engines.checkpoints import ranks
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.convert import publish
from stenograf.llm.whisper.features import mel_filters
from stenograf.llm.whisper.loading import load_heads, load_vocabulary
from stenograf.llm.whisper.weights import Weights

_NAMES = (
    ("layers", "blocks"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("final_layer_norm", "mlp_ln"),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("self_attn.q_proj", "attn.query"),
    ("self_attn.k_proj", "attn.key"),
    ("self_attn.v_proj", "attn.value"),
    ("self_attn.out_proj", "attn.out"),
    ("encoder_attn.q_proj", "cross_attn.query"),
    ("encoder_attn.k_proj", "cross_attn.key"),
    ("encoder_attn.v_proj", "cross_attn.value"),
    ("encoder_attn.out_proj", "cross_attn.out"),
    ("decoder.layer_norm", "decoder.ln"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"),
)
_MAGIC = 0x67676D6C
_F32, _F16, _Q8_0 = 0, 1, 8
_MOSTLY_Q8_0 = 7
_QUANTIZED_ROW = 32


def ct2_folder(folder: Path) -> Path:
    """CTranslate2, int8, for faster-whisper."""
    target = folder.with_name(f"{folder.name}.ct2")
    if not target.is_dir():
        checkpoint = open_checkpoint(folder, folder.parent)
        vocabulary = load_vocabulary(checkpoint)
        publish(checkpoint, vocabulary, load_heads(checkpoint, vocabulary), "int8", target)
    return target


def openai_file(folder: Path) -> Path:
    """openai-whisper's checkpoint."""
    import torch

    target = folder.with_name(f"{folder.name}.pt")
    if not target.is_file():
        state = {name: torch.from_numpy(body) for name, body in _renamed(folder).items()}
        torch.save({"dims": dims(_config(folder)), "model_state_dict": state}, target)
    return target


def ggml_file(folder: Path) -> Path:
    """whisper.cpp's file, matrices in q8_0."""
    target = folder.with_name(f"{folder.name}.ggml")
    if not target.is_file():
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            _write_ggml(file, folder)
        part.rename(target)
    return target


def dims(config: dict[str, Any]) -> dict[str, int]:
    """A checkpoint's shape, as OpenAI's own implementation calls it."""
    return {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }


def openai_name(name: str) -> str:
    """A tensor's name in OpenAI's own implementation."""
    other = name.removeprefix("model.")
    for ours, theirs in _NAMES:
        other = other.replace(ours, theirs)
    return other


def _config(folder: Path) -> dict[str, Any]:
    return open_checkpoint(folder, folder.parent).config


def _renamed(folder: Path) -> dict[str, NDArray[np.float32]]:
    weights = Weights(folder)
    return {openai_name(name): weights[name] for name in weights.names()}


def _write_ggml(file: Any, folder: Path) -> None:
    shape = dims(_config(folder))
    order = ("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
             "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels")  # fmt: skip
    file.write(struct.pack("<12i", _MAGIC, *(shape[name] for name in order), _MOSTLY_Q8_0))
    filters = mel_filters(shape["n_mels"])
    file.write(struct.pack("<2i", *filters.shape))
    filters.tofile(file)
    tokens = sorted(ranks(), key=ranks().__getitem__)
    file.write(struct.pack("<i", len(tokens)))
    for token in tokens:
        file.write(struct.pack("<i", len(token)) + token)
    for name, body in _renamed(folder).items():
        _write_tensor(file, name, body)


def _write_tensor(file: Any, name: str, body: NDArray[np.float32]) -> None:
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        body = body.reshape(-1, 1)
    if body.ndim == 2 and "positional" not in name and "conv" not in name:
        kind, stored = _Q8_0, q8_0(body)
    elif body.ndim == 3:
        kind, stored = _F16, body.astype(np.float16).tobytes()
    else:
        kind, stored = _F32, body.astype(np.float32).tobytes()
    encoded = name.encode()
    file.write(struct.pack("<3i", body.ndim, len(encoded), kind))
    file.write(struct.pack(f"<{body.ndim}i", *reversed(body.shape)))
    file.write(encoded)
    file.write(stored)


def q8_0(body: NDArray[np.float32]) -> bytes:
    """Blocks of 32 numbers: a half-precision scale, then int8."""
    blocks = body.reshape(-1, _QUANTIZED_ROW)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    rounded = np.rint(blocks / np.where(scale == 0, 1, scale)).astype(np.int8)
    packed = np.concatenate([scale.astype(np.float16).view(np.int8), rounded], axis=1)
    return packed.tobytes()
