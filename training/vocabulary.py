"""The model's own small byte-level BPE, with Whisper's special tokens behind it in order."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import WhisperTokenizerFast

from training.grammar import read_prompts, training_grammar
from training.paths import WORK

BPE_SIZE = 768
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|ru|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]
TIMESTAMPS = [f"<|{0.02 * i:.2f}|>" for i in range(1501)]
_ALPHABET = "абвгдежзийклмнопрстуфхцчшщъыьэюя"


def build_tokenizer(folder: Path) -> WhisperTokenizerFast:
    """Train the BPE on drawn sentences and write a Whisper tokenizer into `folder`."""
    grammar = training_grammar(seed=1)
    corpus = [grammar.sentence() for _ in range(20_000)]
    corpus += list(read_prompts().values()) * 3
    # Every letter in every position keeps texts outside the domain spellable.
    corpus += [f" {a} {a.upper()} {a}{a}ё Ё" for a in _ALPHABET] * 3
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator((" " + text for text in corpus), vocab_size=BPE_SIZE, min_frequency=2)
    WORK.mkdir(parents=True, exist_ok=True)
    state = json.loads(bpe.to_str())["model"]
    tokenizer = WhisperTokenizerFast(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        unk_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        add_prefix_space=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    tokenizer.add_tokens(TIMESTAMPS)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer
