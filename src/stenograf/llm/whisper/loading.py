"""What decoding needs of a checked checkpoint beside its weights."""

from stenograf.llm.whisper.alignment_heads import Heads, alignment_heads
from stenograf.llm.whisper.checkpoint import Checkpoint
from stenograf.llm.whisper.features import LogMel
from stenograf.llm.whisper.tokens import BytePairTokenizer
from stenograf.llm.whisper.vocabulary import Vocabulary, build_vocabulary


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
