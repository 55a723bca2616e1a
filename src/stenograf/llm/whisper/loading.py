"""A checked checkpoint becomes a model and a tokenizer of transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from stenograf.contract.errors import ModelNotFound
from stenograf.llm.whisper.alignment_heads import Heads, alignment_heads
from stenograf.llm.whisper.checkpoint import Checkpoint
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.vocabulary import Vocabulary, build_vocabulary


class HfTokenizer:
    """transformers' tokenizer reduced to `whisper.vocabulary.Tokenizer`."""

    def __init__(self, folder: Path) -> None:
        self._backend = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
        self._vocab: dict[str, int] = dict(self._backend.get_vocab())

    def get_vocab(self) -> dict[str, int]:
        """See `Tokenizer.get_vocab`."""
        return self._vocab

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._backend.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        text: str = self._backend.backend_tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def load_vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    """The tokenizer with its special tokens completed; raises ModelNotFound if it is unreadable."""
    size = int(checkpoint.config["vocab_size"])
    try:
        tokenizer = HfTokenizer(checkpoint.folder)
    except Exception as exc:
        raise ModelNotFound(
            f"The tokenizer in {checkpoint.folder} cannot be read: {exc}",
            hint="Copy the tokenizer files of the model it was fine-tuned from into it.",
        ) from exc
    return build_vocabulary(tokenizer, size, checkpoint.generation, checkpoint.config)


def load_weights(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> WhisperForConditionalGeneration:
    """The model in eval mode on `device`; raises ModelNotFound for damaged or missing tensors."""
    try:
        model, notes = WhisperForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as exc:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} cannot be loaded: {type(exc).__name__}: {exc}",
            hint="The files are damaged or incomplete; fetch the model again.",
        ) from exc
    missing = sorted(set(notes["missing_keys"]) - {"proj_out.weight"})
    if missing:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} lack {len(missing)} tensors, {missing[0]} first.",
            hint="The files are incomplete; fetch the model again.",
        )
    ready: WhisperForConditionalGeneration = model.to(device).eval()
    return ready


def log_mel(checkpoint: Checkpoint) -> LogMel:
    """Derived from the model's shape, which the files of old checkpoints do not contradict."""
    bands = int(checkpoint.config["num_mel_bins"])
    return LogMel(bands, 2 * int(checkpoint.config["max_source_positions"]))


def load_heads(checkpoint: Checkpoint, vocabulary: Vocabulary) -> Heads:
    """The heads that follow the sound: as the checkpoint says, else as its shape suggests."""
    layers = int(checkpoint.config["decoder_layers"])
    heads = int(checkpoint.config["decoder_attention_heads"])
    given = checkpoint.generation.get("alignment_heads")
    if given:
        return tuple(
            (int(layer), int(head)) for layer, head in given if layer < layers and head < heads
        )
    return alignment_heads(layers, heads, vocabulary.size)
