"""Writes a trained network as a genuine Hugging Face Whisper folder (fp16 safetensors)."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizerFast,
)

from training.network import Network, Shape
from training.paths import MODEL, WORK


def whisper_config(shape: Shape, tokenizer: WhisperTokenizerFast) -> WhisperConfig:
    """Return the configuration that describes this network to transformers."""
    ids = tokenizer.convert_tokens_to_ids
    end = ids("<|endoftext|>")
    return WhisperConfig(
        vocab_size=shape.vocabulary,
        num_mel_bins=shape.mels,
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        encoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_layers=shape.decoder_layers,
        decoder_attention_heads=shape.heads,
        decoder_ffn_dim=4 * shape.width,
        max_source_positions=shape.source_positions,
        max_target_positions=shape.target_positions,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=ids("<|startoftranscript|>"),
        begin_suppress_tokens=None,
        suppress_tokens=None,
        dtype="float16",
    )


def generation_config(
    tokenizer: WhisperTokenizerFast, alignment_heads: list[list[int]]
) -> GenerationConfig:
    """Return the generation settings: language and task ids, timestamps, heads for word times."""
    ids = tokenizer.convert_tokens_to_ids
    end = ids("<|endoftext|>")
    return GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=ids("<|startoftranscript|>"),
        lang_to_id={"<|ru|>": ids("<|ru|>")},
        task_to_id={"transcribe": ids("<|transcribe|>"), "translate": ids("<|translate|>")},
        is_multilingual=True,
        language="<|ru|>",
        task="transcribe",
        no_timestamps_token_id=ids("<|notimestamps|>"),
        prev_sot_token_id=ids("<|startofprev|>"),
        return_timestamps=False,
        max_initial_timestamp_index=1500,
        max_length=448,
        alignment_heads=alignment_heads,
        begin_suppress_tokens=[],
        suppress_tokens=[],
    )


def export(
    network: Network, tokenizer: WhisperTokenizerFast, heads: list[list[int]], folder: Path
) -> None:
    """Write config, generation config, tokenizer, feature extractor and weights into `folder`."""
    config = whisper_config(network.shape, tokenizer)
    model = WhisperForConditionalGeneration(config).eval()
    state = network.whisper_state()
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    model.generation_config = generation_config(tokenizer, heads)
    model.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    extractor = WhisperFeatureExtractor(feature_size=network.shape.mels)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    # Older readers of the format look for these names beside processor_config.json.
    extractor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Export a checkpoint; alignment heads are the supervised ones (head 0 of each later layer)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=MODEL)
    arguments = parser.parse_args()
    stored = torch.load(arguments.checkpoint, weights_only=True)
    network = Network(Shape(**stored["shape"]))
    network.load_state_dict(stored["network"], strict=False)
    tokenizer = WhisperTokenizerFast.from_pretrained(WORK / "tokenizer")
    heads = [[layer, 0] for layer in range(1, network.shape.decoder_layers)]
    export(network, tokenizer, heads, arguments.out)


if __name__ == "__main__":
    main()
