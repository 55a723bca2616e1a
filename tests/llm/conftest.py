"""Whisper checkpoints with random weights: genuine layout, real vocabulary, no download."""

import base64
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.engine_settings import engine_settings
from transformers import WhisperConfig, WhisperForConditionalGeneration

from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.hf_whisper import HfWhisper, load_hf_whisper
from stenograf.llm.native.build import build
from stenograf.llm.native.library import Library
from stenograf.transcripts.languages import NAMES

_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr
bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn
yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
"""
LANGUAGES_IN_ORDER = _CODES.split()

Checkpoint = Callable[..., Path]


def byte_alphabet() -> dict[int, str]:
    """Byte-level BPE writes bytes as printable characters: printable ones as themselves."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    moved = {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {byte: chr(byte) for byte in kept} | moved


def split_by_merges(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The parts that BPE joins last to make `token`."""
    parts = [bytes([byte]) for byte in token]
    limit = ranks[token]
    while True:
        best, at = limit, -1
        for i in range(len(parts) - 1):
            rank = ranks.get(parts[i] + parts[i + 1], limit)
            if rank < best:
                best, at = rank, i
        if at < 0:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def write_tokenizer(folder: Path, *, languages: list[str]) -> dict[str, int]:
    """vocab.json, merges.txt, added_tokens.json as old checkpoints have them; all special ids.

    Text tokens are those of OpenAI's multilingual vocabulary; timestamps are not listed.
    """
    origin = find_spec("whisper")
    assert origin is not None and origin.origin is not None
    lines = (Path(origin.origin).parent / "assets" / "multilingual.tiktoken").read_text()
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in lines.splitlines())
    }
    alphabet = byte_alphabet()

    def spell(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    vocab = {spell(token): rank for token, rank in ranks.items()}
    merges = [
        " ".join(map(spell, split_by_merges(token, ranks)))
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
    ]
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    names += ["<|nocaptions|>", "<|notimestamps|>"]
    special = {name: len(ranks) + i for i, name in enumerate(names)}
    files: dict[str, Any] = {
        "vocab.json": vocab | {"<|endoftext|>": special["<|endoftext|>"]},
        "added_tokens.json": {k: v for k, v in special.items() if k != "<|endoftext|>"},
        "special_tokens_map.json": {
            "additional_special_tokens": list(special),
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer", "errors": "replace"},
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": 80,
            "chunk_length": 30,
            "sampling_rate": SAMPLE_RATE,
        },
    }
    for name, body in files.items():
        (folder / name).write_text(json.dumps(body, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return special


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer files of an old multilingual checkpoint."""
    assert set(LANGUAGES_IN_ORDER) <= set(NAMES)
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, languages=LANGUAGES_IN_ORDER)
    return folder


@pytest.fixture(scope="session")
def old_checkpoint(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Makes an old-style checkpoint: pytorch_model.bin only, no generation config."""

    def make(
        layers: int = 4, heads: int = 6, d_model: int = 96, *, confident: bool = False
    ) -> Path:
        torch.manual_seed(3 if confident else 1)
        config = WhisperConfig(
            vocab_size=51_865,
            d_model=d_model,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * d_model,
            decoder_ffn_dim=4 * d_model,
        )
        model = WhisperForConditionalGeneration(config)
        if confident:
            _sharpen(model)
        _end_after(model, 40 if confident else 14)
        folder = tmp_path_factory.mktemp("old")
        for path in tokenizer_folder.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        body = config.to_dict() | {
            "architectures": ["WhisperForConditionalGeneration"],
            "forced_decoder_ids": [[1, 50_263], [2, 50_359], [3, 50_363]],
            "begin_suppress_tokens": [220, 50_257],
            "suppress_tokens": [],
        }
        (folder / "config.json").write_text(json.dumps(body))
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_old(old_checkpoint: Checkpoint) -> Path:
    """An old checkpoint of tiny's layers and heads, narrow."""
    return old_checkpoint()


@pytest.fixture
def load_engine(tmp_path: Path) -> Callable[[Path], HfWhisper]:
    """Loads a checkpoint folder with the transformers engine, one thread."""

    def load(folder: Path, **overrides: Any) -> HfWhisper:
        settings = engine_settings("transformers", folder, tmp_path / "data", **overrides)
        return load_hf_whisper(settings, lambda *_: None)

    return load


@pytest.fixture(scope="session")
def tone() -> Callable[..., Waveform]:
    """Makes a 440 Hz sine: `tone(seconds, amplitude=0.1)`."""

    def make(seconds: float, amplitude: float = 0.1) -> Waveform:
        time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        return (amplitude * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)

    return make


@torch.no_grad()
def _sharpen(model: WhisperForConditionalGeneration) -> None:
    """Random weights whose text and attention depend on the sound."""
    model.model.decoder.embed_tokens.weight.mul_(6)
    for layer in model.model.decoder.layers:
        attention = layer.encoder_attn
        for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
            part.weight.mul_(8)


@torch.no_grad()
def _end_after(model: WhisperForConditionalGeneration, position: int) -> None:
    """Let later positions point at the end token, which random weights would never find."""
    end = model.model.decoder.embed_tokens.weight[50_257]
    end *= 3 / end.norm()
    model.model.decoder.embed_positions.weight[position:] += 20 * end / end.norm()


@pytest.fixture(scope="session")
def native_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The native library, compiled from the sources as they are."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return Library(build(tmp_path_factory.mktemp("native") / "_stenograf.so"))
