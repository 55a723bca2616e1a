"""What decoding needs of a checked checkpoint beside its weights."""

from pathlib import Path

from stenograf.llm.engines.base import Capabilities
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.fingerprint import fingerprint
from stenograf.llm.whisper.alignment_heads import Heads, alignment_heads
from stenograf.llm.whisper.checkpoint import CONVERTED, Checkpoint, open_checkpoint
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.hub import is_embedded, served_name
from stenograf.llm.whisper.tokens import BytePairTokenizer
from stenograf.llm.whisper.vocabulary import Vocabulary, build_vocabulary


def open_source(settings: EngineSettings, folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, checked, its weights readable without running anything."""
    return open_checkpoint(folder, settings.data_dir / CONVERTED)


def capabilities(
    settings: EngineSettings,
    folder: Path,
    vocabulary: Vocabulary,
    features: LogMel,
    *,
    dtype: str,
    device: str,
) -> Capabilities:
    """What a Whisper model from `folder` is and can do, in whichever engine."""
    return Capabilities(
        model=served_name(settings.model),
        languages=tuple(vocabulary.languages) or ("en",),
        tasks=tuple(vocabulary.tasks),
        max_window_samples=features.n_samples,
        embedded=is_embedded(folder),
        dtype=dtype,
        device=device,
        fingerprint=fingerprint(folder),
        engine=settings.engine,
        engine_reason=settings.reason,
    )


def load_vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    """The tokenizer with its special tokens completed; raises ModelNotFound if it is unreadable."""
    return build_vocabulary(
        BytePairTokenizer(checkpoint.folder),
        int(checkpoint.config["vocab_size"]),
        checkpoint.generation,
        checkpoint.config,
    )


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
