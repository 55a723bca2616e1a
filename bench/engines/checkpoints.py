"""Checkpoints of Whisper's shapes with random weights that say a known number of tokens.

Each position of the decoder points at one text token, the one behind the last at the end token,
and the layers add only little to that: every engine, with and without timestamps, in any number
format, writes the same text of exactly so many tokens and stops.
"""

import base64
import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

VOCABULARY = 51_865
END, START, RUSSIAN, FIRST_STAMP = 50_257, 50_258, 50_263, 50_364
_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr
bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn
yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
"""
_FRAMES, _CONTEXT, _BANDS = 1500, 448, 80
_PREFIX = 3  # positions before the first text token, timestamps or not
_CONFIDENCE = 20.0  # logit of the token that is meant; those of the others are about 0


@dataclass(frozen=True)
class Shape:
    """Layers of encoder and decoder each, attention heads, width."""

    layers: int
    heads: int
    width: int
    bands: int = _BANDS


SHAPES = {
    "tiny": Shape(4, 6, 384),
    "base": Shape(6, 8, 512),
    "small": Shape(12, 12, 768),
    "medium": Shape(24, 16, 1024),
    "large-v3": Shape(32, 20, 1280, 128),  # with the vocabulary of the others
    "nano": Shape(2, 2, 64),  # for tests
}


def checkpoint(name: str, tokens: int, parent: Path) -> Path:
    """A Hugging Face folder of shape `name` whose text has `tokens` tokens, made once."""
    target = parent / f"{name}-{tokens}"
    if (target / "model.safetensors").is_file():
        return target
    work = target.with_name(f".{target.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shape = SHAPES[name]
    _write_tokenizer(work)
    _write_configs(work, shape)
    save_file(_tensors(shape, tokens), work / "model.safetensors", metadata={"format": "pt"})
    work.rename(target)
    return target


def _write_configs(folder: Path, shape: Shape) -> None:
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": shape.width,
        "encoder_layers": shape.layers,
        "decoder_layers": shape.layers,
        "encoder_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": 4 * shape.width,
        "decoder_ffn_dim": 4 * shape.width,
        "vocab_size": VOCABULARY,
        "num_mel_bins": shape.bands,
        "max_source_positions": _FRAMES,
        "max_target_positions": _CONTEXT,
        "is_encoder_decoder": True,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "decoder_start_token_id": START,
        "activation_function": "gelu",
        "dtype": "float16",
    }
    languages = {f"<|{code}|>": START + 1 + i for i, code in enumerate(_CODES.split())}
    generation = {
        "decoder_start_token_id": START,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "is_multilingual": True,
        "lang_to_id": languages,
        "task_to_id": {"translate": 50_358, "transcribe": 50_359},
        "no_timestamps_token_id": FIRST_STAMP - 1,
        "prev_sot_token_id": 50_361,
        "max_initial_timestamp_index": 50,
        "max_length": _CONTEXT,
        "return_timestamps": False,
        "suppress_tokens": [],
        "begin_suppress_tokens": [220, END],
        "alignment_heads": [[shape.layers - 1, 0]],
    }
    processor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": shape.bands,
        "chunk_length": 30,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "sampling_rate": 16_000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "processor_class": "WhisperProcessor",
    }
    for name, body in (
        ("config", config),
        ("generation_config", generation),
        ("preprocessor_config", processor),
    ):
        (folder / f"{name}.json").write_text(json.dumps(body, indent=1))


def ranks() -> dict[bytes, int]:
    """OpenAI's multilingual text tokens, from their package."""
    origin = find_spec("whisper")
    if origin is None or origin.origin is None:
        raise SystemExit("openai-whisper is not installed here (pip install -r req_dev.txt)")
    listed = (Path(origin.origin).parent / "assets" / "multilingual.tiktoken").read_text()
    return {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in listed.splitlines())
    }


def _write_tokenizer(folder: Path) -> None:
    known = ranks()
    alphabet = _alphabet()

    def spell(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    merges = [
        tuple(map(spell, _parts(token, known)))
        for token in sorted(known, key=known.__getitem__)
        if len(token) > 1
    ]
    vocab = {spell(token): rank for token, rank in known.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{c}|>" for c in _CODES.split())]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    names += ["<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(_FRAMES + 1)]
    tokenizer.add_tokens([AddedToken(stamp) for stamp in stamps])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "WhisperTokenizer",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _alphabet() -> dict[int, str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def _parts(token: bytes, known: dict[bytes, int]) -> list[bytes]:
    """The two parts that are joined last to make `token`."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [(known.get(a + b, VOCABULARY), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, at = min(pairs)
        if rank >= known[token]:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _tensors(shape: Shape, tokens: int) -> dict[str, NDArray[np.float16]]:
    rng = np.random.default_rng(0)
    width = shape.width

    def normal(*size: int, scale: float = 0.02) -> NDArray[np.float16]:
        return (rng.standard_normal(size, dtype=np.float32) * scale).astype(np.float16)

    found: dict[str, Any] = {
        "encoder.conv1.weight": normal(width, shape.bands, 3),
        "encoder.conv1.bias": normal(width),
        "encoder.conv2.weight": normal(width, width, 3),
        "encoder.conv2.bias": normal(width),
        "encoder.embed_positions.weight": normal(_FRAMES, width),
        "decoder.embed_tokens.weight": normal(VOCABULARY, width, scale=_CONFIDENCE / width),
    }
    embedding = found["decoder.embed_tokens.weight"]
    found["decoder.embed_positions.weight"] = _positions(embedding, tokens)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = np.ones(width, np.float16)
        found[f"{name}.bias"] = np.zeros(width, np.float16)

    def attention(name: str) -> None:
        for part in ("q", "k", "v", "out"):
            scale = 0.001 if part == "out" else 0.02  # what layers add stays small
            found[f"{name}.{part}_proj.weight"] = normal(width, width, scale=scale)
            if part != "k":
                found[f"{name}.{part}_proj.bias"] = np.zeros(width, np.float16)

    for side in ("encoder", "decoder"):
        norm(f"{side}.layer_norm")
        for i in range(shape.layers):
            layer = f"{side}.layers.{i}"
            attention(f"{layer}.self_attn")
            norm(f"{layer}.self_attn_layer_norm")
            if side == "decoder":
                attention(f"{layer}.encoder_attn")
                norm(f"{layer}.encoder_attn_layer_norm")
            found[f"{layer}.fc1.weight"] = normal(4 * width, width)
            found[f"{layer}.fc1.bias"] = np.zeros(4 * width, np.float16)
            found[f"{layer}.fc2.weight"] = normal(width, 4 * width, scale=0.001)
            found[f"{layer}.fc2.bias"] = np.zeros(width, np.float16)
            norm(f"{layer}.final_layer_norm")
    return {f"model.{name}": tensor for name, tensor in found.items()}


def _positions(embedding: NDArray[np.float16], tokens: int) -> NDArray[np.float16]:
    """Position embeddings that point at the token to write behind each position."""
    said = _text(tokens + _PREFIX)
    meant = [said[0], said[1], FIRST_STAMP, *said[_PREFIX:]]
    meant += [END] * (_CONTEXT - len(meant))
    directions = embedding[meant].astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (_CONFIDENCE * directions).astype(np.float16)


def _text(count: int) -> list[int]:
    """Different whole Russian words: nothing that a recognizer takes for a loop."""
    words = []
    for token, rank in ranks().items():
        text = token.decode("utf-8", errors="ignore")
        plain = text.strip()
        if text.startswith(" ") and len(plain) > 2 and all("а" <= c <= "я" for c in plain):
            words.append(rank)
    return [int(rank) for rank in np.random.default_rng(1).permutation(words)[:count]]
