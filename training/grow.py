"""Gives the decoder one more layer, which can tell the time from the first step on.

The encoder's states hold their own position, exactly, and the supervised attention head finds the
right place; but a small decoder does not discover in hours that it could read the one through the
other, so its timestamp tokens stay guesses. Here that path is laid: the new layer looks where the
last one looked, and what it brings back is the position, by least squares. Everything else in it
begins as zero, so the words are heard as before.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import WhisperTokenizerFast

from training.batches import FRAMES_PER_S, Lexicon, Targets, make_batch
from training.compose import Library
from training.network import Network, Shape, sinusoids
from training.paths import WORK
from training.train import ALIGNED, STAGES, TIMES

BATCHES = 20
EVERY_FRAMES = 5
READ = 0.15  # how loudly the position enters the decoder's stream
NAME = 0.1  # how much of its position a time token carries
ZEROED = (
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "encoder_attn.out_proj.bias",
    "fc2.weight",
    "fc2.bias",
)


@torch.no_grad()
def position_reader(network: Network, seed: int = 19) -> tuple[Tensor, Tensor]:
    """Weight (width, width) and bias (width,) that map encoder states to their position code."""
    tokenizer = WORK / "tokenizer"
    library = Library(dict(ALIGNED))
    targets = Targets(WhisperTokenizerFast.from_pretrained(tokenizer))
    lexicon = Lexicon([name for name, _ in ALIGNED])
    recipe = replace(STAGES["full"], seconds=(12.0, 30.0), empty=0.0)
    rng = np.random.default_rng(seed)
    states, frames = [], []
    for _ in range(BATCHES):
        batch = make_batch(rng, library, targets, lexicon, recipe)
        heard = network.encoder(batch.mel, batch.first_frame, 0.0)[:, ::EVERY_FRAMES]
        states.append(heard.flatten(0, 1))
        places = torch.arange(heard.shape[1]) * EVERY_FRAMES + batch.first_frame
        frames.append(places.repeat(heard.shape[0]))
    known = torch.cat(states)
    known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
    codes = sinusoids(30 * FRAMES_PER_S + 1, network.shape.width)[torch.cat(frames)]
    square = known.T @ known + torch.eye(known.shape[1])
    solution = torch.linalg.solve(square, known.T @ codes)
    return solution[:-1].T.contiguous(), solution[-1]


@torch.no_grad()
def grow(network: Network) -> Network:
    """Return a copy of a trained network with one more decoder layer."""
    shape = network.shape
    grown = Network(replace(shape, decoder_layers=shape.decoder_layers + 1))
    state = grown.state_dict()
    old = network.state_dict()
    state.update(old)
    new, last = (f"decoder.layers.{shape.decoder_layers - i}." for i in range(2))
    for name in [n.removeprefix(new) for n in state if n.startswith(new) and "layer_norm" in n]:
        state[new + name] = old[last + name].clone()
    for name in ZEROED:
        state[new + name] = torch.zeros_like(state[new + name])
    head = shape.width // shape.heads
    for name in ("q_proj.weight", "q_proj.bias", "k_proj.weight"):
        supervised = old[f"{last}encoder_attn.{name}"][:head]
        state[f"{new}encoder_attn.{name}"] = torch.cat([supervised] * shape.heads)
    weight, bias = position_reader(network)
    state[f"{new}encoder_attn.v_proj.weight"] = weight
    state[f"{new}encoder_attn.v_proj.bias"] = bias
    state[f"{new}encoder_attn.out_proj.weight"] = READ * torch.eye(shape.width)
    tokens = state["decoder.embed_tokens.weight"]
    tokens[-TIMES:] = tokens[-TIMES:].mean(0) + NAME * sinusoids(TIMES, shape.width)
    grown.load_state_dict(state)
    return grown


def main() -> None:
    """Grow a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    stored = torch.load(arguments.checkpoint, weights_only=True)
    network = Network(Shape(**stored["shape"])).eval()
    network.load_state_dict(stored["network"], strict=False)
    grown = grow(network)
    torch.save({"network": grown.state_dict(), "shape": asdict(grown.shape)}, arguments.out)


if __name__ == "__main__":
    main()
