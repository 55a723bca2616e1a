"""A checkpoint's tensors go into the native model one at a time, so that memory stays low."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stenograf.llm.native.library import Model, Shape
from stenograf.llm.whisper.weights import Weights

_NARROW = 384  # narrower than whisper-tiny: cheap to compute, and noise of 8 bits costs words
_ROWS_AT_ONCE = 4096  # of the embedding, by far the largest tensor


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The sizes in a Whisper checkpoint's config.json; raises ValueError for what is not served."""
    activation = config.get("activation_function", "gelu")
    if activation != "gelu" or config.get("scale_embedding"):
        raise ValueError(f"activation {activation} or scaled embeddings")
    if config["encoder_attention_heads"] != config["decoder_attention_heads"]:
        raise ValueError("different numbers of heads in encoder and decoder")
    shape = Shape(
        mels=int(config["num_mel_bins"]),
        width=int(config["d_model"]),
        heads=int(config["encoder_attention_heads"]),
        encoder_layers=int(config["encoder_layers"]),
        encoder_hidden=int(config["encoder_ffn_dim"]),
        decoder_layers=int(config["decoder_layers"]),
        decoder_hidden=int(config["decoder_ffn_dim"]),
        vocabulary=int(config["vocab_size"]),
        max_frames=int(config["max_source_positions"]),
        max_tokens=int(config["max_target_positions"]),
        precise=int(config["d_model"]) < _NARROW,
    )
    shape.check()
    return shape


def fill(model: Model, weights: Weights) -> Iterator[float]:
    """Hand all tensors over and seal the model; tells the share done, from 0 to 1.

    Raises ModelNotFound for tensors that are missing, ValueError for those that do not fit.
    """
    names = list(model.wanted())
    for done, (name, rows) in enumerate(names):
        tensor = _matrix(weights[f"model.{name}"])
        if tensor.shape[0] != rows:
            raise ValueError(f"{name} has {tensor.shape[0]} rows in place of {rows}")
        for first in range(0, rows, _ROWS_AT_ONCE):
            model.set(name, tensor[first : first + _ROWS_AT_ONCE], first)
        yield (done + 1) / len(names)
    model.seal()


def _matrix(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors as one row; convolutions, (out, in, 3), as rows over three frames side by side."""
    if tensor.ndim == 1:
        return tensor[None]
    return tensor.transpose(0, 2, 1).reshape(tensor.shape[0], -1) if tensor.ndim == 3 else tensor
