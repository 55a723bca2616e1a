"""Trains the network in stages of a given number of minutes, from a checkpoint or from scratch."""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import WhisperTokenizerFast

from training.batches import IGNORE, Batch, BatchStream, Recipe
from training.network import CTC_BLANK, Network, Shape
from training.paths import WORK
from training.vocabulary import build_tokenizer

TIMES = 1501

SOURCES = (
    ("plain", 0.34),
    ("espeak", 0.08),
    ("festival", 0.27),
    ("prompts", 0.18),
    ("ivr", 0.1),
    ("read", 0.03),
)
ALIGNED = (
    ("plain", 0.27),
    ("espeak", 0.08),
    ("festival", 0.24),
    ("prompts_aligned", 0.26),
    ("ivr", 0.12),
    ("read_aligned", 0.03),
)
STAGES = {
    "short": Recipe((4.0, 5.0, 6.0), 60, SOURCES, empty=0.04, strength=0.5),
    "middle": Recipe((5.0, 7.0, 9.0), 64, SOURCES, empty=0.04, strength=0.35),
    "full": Recipe((7.0, 12.0, 20.0, 30.0), 90, ALIGNED, empty=0.05, strength=0.35),
    "padded": Recipe((4.0, 7.0, 12.0, 20.0, 30.0), 90, ALIGNED, 0.05, 0.35, padded=0.75),
}


def span_loss(log_attention: Tensor, spans: Tensor) -> Tensor:
    """Mean -log of the attention that falls on each token's own span.

    log_attention has shape (batch, queries, frames), spans (batch, queries, 2) in s, negative
    where unknown.
    """
    frames = torch.arange(log_attention.shape[-1]) / 50
    low, high = spans[..., :1] - 0.04, spans[..., 1:] + 0.04
    inside = (frames >= low) & (frames <= high) & (spans[..., :1] > -0.5)
    known = inside.any(-1)
    if not known.any():
        return log_attention.new_zeros(())
    chosen = log_attention[known].masked_fill(~inside[known], -1e4)
    return -chosen.logsumexp(-1).clamp(max=0).mean()


def time_loss(logits: Tensor, times: Tensor) -> Tensor:
    """Summed cross-entropy against a bell of 30 ms around each true time.

    logits has shape (rows, vocabulary), times (rows,) in frames of 20 ms. Where speech begins is
    not known to the frame, and a bell also teaches that neighbours in time are neighbours.
    """
    reach = torch.arange(-4, 5)
    bell = torch.exp(-0.5 * (reach / 1.5) ** 2)
    around = (times[:, None] + reach).clamp(0, TIMES - 1) + logits.shape[1] - TIMES
    near = logits.log_softmax(-1).gather(1, around)
    return -(near * (bell / bell.sum())).sum()


def decoder_losses(
    network: Network, batch: Batch, states: Tensor, dropout: float, smoothing: float
) -> dict[str, Tensor]:
    """Return what the decoder learns from given encoder states: tokens and where to look."""
    logits, attention = network.decoder(batch.tokens, states, dropout)
    flat, goal = logits.float().flatten(0, 1), batch.targets.flatten()
    kept = goal != IGNORE
    first_time = flat.shape[1] - TIMES
    timed = goal >= first_time
    cross = F.cross_entropy(
        flat,
        goal.masked_fill(timed, IGNORE),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="sum",
    )
    cross = (cross + time_loss(flat[timed], goal[timed] - first_time)) / kept.sum()
    accuracy = (flat[kept].argmax(-1) == goal[kept]).float().mean()
    looks = span_loss(attention[0][:, 0], batch.input_spans)
    for layer in attention[1:]:
        looks = looks + span_loss(layer[:, 0], batch.spans)
    return {"cross": cross, "looks": looks / len(attention), "accuracy": accuracy}


def losses(
    network: Network, batch: Batch, dropout: float, smoothing: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Return all losses of one batch (tokens, looks, letters, frame words) and encoder states."""
    mel = batch.mel.to(network.ctc.weight.dtype)
    states = network.encoder(mel, batch.first_frame, dropout)
    parts = decoder_losses(network, batch, states, dropout, smoothing)
    log_spelled = network.ctc(states).float().log_softmax(-1).transpose(0, 1)
    input_lengths = torch.full((len(batch.ctc_lengths),), states.shape[1])
    ctc = F.ctc_loss(
        log_spelled,
        batch.ctc_targets,
        input_lengths,
        batch.ctc_lengths,
        blank=CTC_BLANK,
        reduction="sum",
        zero_infinity=True,
    )
    named = network.frame_words(states).float().flatten(0, 1)
    words = F.cross_entropy(named, batch.frame_words.flatten(), ignore_index=IGNORE)
    parts |= {"ctc": ctc / max(1, int(batch.ctc_lengths.sum())), "words": words}
    return parts, states.detach()


def mask_spectrum(mel: Tensor) -> Tensor:
    """Blank a random band and a short stretch of time in a third of the windows."""
    for row in mel:
        if torch.rand(()) < 0.35:
            low = int(torch.randint(0, 70, ()))
            row[low : low + int(torch.randint(2, 12, ()))] = row.min()
        if torch.rand(()) < 0.2:
            at = int(torch.randint(0, mel.shape[2] - 12, ()))
            row[:, at : at + int(torch.randint(2, 12, ()))] = row.min()
    return mel


def stored_shape(path: Path | None) -> Shape | None:
    """Return the shape of a checkpoint."""
    return None if path is None else Shape(**torch.load(path, weights_only=True)["shape"])


def load(path: Path | None, shape: Shape) -> Network:
    """Return the network, from a checkpoint if there is one."""
    network = Network(shape)
    if path is not None:
        network.load_state_dict(torch.load(path, weights_only=True)["network"], strict=False)
    return network


class Shadow:
    """A bfloat16 copy that computes, while float32 weights are what the optimizer moves.

    On a CPU this halves the memory traffic, which is what bounds a network this small, and spares
    the casts of autocast.
    """

    def __init__(self, network: Network) -> None:
        self.network = copy.deepcopy(network).bfloat16()
        self._pairs = list(zip(network.parameters(), self.network.parameters(), strict=True))

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the optimizer's weights down."""
        for master, shadow in self._pairs:
            shadow.copy_(master)

    def hand_over_gradients(self) -> None:
        """Move the gradients up and forget them here."""
        for master, shadow in self._pairs:
            master.grad = None if shadow.grad is None else shadow.grad.float()
            shadow.grad = None


class Average:
    """Exponential moving average of the weights; what is exported."""

    def __init__(self, network: Network, decay: float) -> None:
        self._decay = decay
        self.state = {k: v.detach().clone().float() for k, v in network.state_dict().items()}

    def update(self, network: Network) -> None:
        for name, value in network.state_dict().items():
            self.state[name].lerp_(value.detach().float(), 1 - self._decay)


def descend(
    total: Tensor,
    network: Network,
    shadow: Shadow,
    optimizer: torch.optim.Optimizer,
    average: Average,
) -> None:
    """Take one step down the loss."""
    total.backward()  # type: ignore[no-untyped-call]
    shadow.hand_over_gradients()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    average.update(network)
    shadow.refresh()


def run_stage(arguments: argparse.Namespace) -> None:
    """Train for the given minutes and write a checkpoint of the averaged weights."""
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    folder = WORK / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        build_tokenizer(folder)
    tokenizer = WhisperTokenizerFast.from_pretrained(folder)
    shape = stored_shape(arguments.start) or Shape(
        len(tokenizer),
        arguments.width,
        arguments.width // 64,
        arguments.encoder_layers,
        arguments.decoder_layers,
    )
    network = load(arguments.start, shape).train()
    # Rare tokens, times most of all, would be forgotten between their turns if they decayed.
    learned = {k: p for k, p in network.named_parameters() if p.requires_grad}
    decay = [p for k, p in learned.items() if p.ndim > 1 and "embed" not in k]
    rest = [p for k, p in learned.items() if p.ndim <= 1 or "embed" in k]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}],
        lr=arguments.rate,
        betas=(0.9, 0.98),
        eps=1e-7,
    )
    shadow = Shadow(network)
    average = Average(network, arguments.average)
    stream = BatchStream(STAGES[arguments.stage], folder, arguments.seed, arguments.workers)
    log = (WORK / "log.jsonl").open("a", encoding="utf-8")
    began, audio_s = time.time(), 0.0
    totals: dict[str, float] = {}
    # The encoder learned to hear long before the decoder learned to look. Its states of recent
    # batches are kept, and the decoder takes further, four times cheaper steps on them.
    kept: deque[tuple[Batch, Tensor]] = deque(maxlen=80)
    try:
        for step, batch in enumerate(stream):
            passed = (time.time() - began) / (arguments.minutes * 60)
            if passed >= 1:
                break
            warm = min(1.0, (step + 1) / arguments.warmup)
            rate = (
                arguments.rate * warm * max(arguments.floor, 0.5 * (1 + math.cos(math.pi * passed)))
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch.mel = mask_spectrum(batch.mel)
            parts, states = losses(shadow.network, batch, arguments.dropout, arguments.smoothing)
            total = parts["cross"] + arguments.ctc * parts["ctc"] + arguments.looks * parts["looks"]
            total = total + arguments.words * parts["words"]
            descend(total, network, shadow, optimizer, average)
            if arguments.replays:
                kept.append((replace(batch, mel=batch.mel[:0]), states))
            for _ in range(arguments.replays):
                old, known = kept[int(torch.randint(len(kept), ()))]
                again = decoder_losses(
                    shadow.network, old, known, arguments.dropout, arguments.smoothing
                )
                total = again["cross"] + arguments.looks * again["looks"]
                descend(total, network, shadow, optimizer, average)
            audio_s += batch.mel.shape[0] * batch.mel.shape[2] / 100
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + value.item()
            if (step + 1) % arguments.every == 0:
                row = {k: round(v / arguments.every, 4) for k, v in totals.items()}
                totals = {}
                elapsed = time.time() - began
                row |= {
                    "stage": arguments.stage,
                    "step": step + 1,
                    "rate": round(rate, 6),
                    "minutes": round(elapsed / 60, 2),
                    "audio_per_s": round(audio_s / elapsed),
                }
                print(json.dumps(row), flush=True)
                log.write(json.dumps(row) + "\n")
                log.flush()
            if (step + 1) % (arguments.every * 8) == 0:
                save(average, shape, arguments.out)
    finally:
        stream.close()
        log.close()
    save(average, shape, arguments.out)


def save(average: Average, shape: Shape, path: Path) -> None:
    """Write the averaged weights, whole or not at all."""
    partial = path.with_suffix(".part")
    torch.save({"network": average.state, "shape": asdict(shape)}, partial)
    partial.replace(path)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--floor", type=float, default=0.02, help="least share of the rate")
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--ctc", type=float, default=0.5)
    parser.add_argument("--looks", type=float, default=0.3)
    parser.add_argument("--replays", type=int, default=0, help="decoder steps on kept states")
    parser.add_argument("--words", type=float, default=0.5)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--smoothing", type=float, default=0.03)
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--encoder-layers", type=int, default=4)
    parser.add_argument("--decoder-layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--seed", type=int, default=7)
    run_stage(parser.parse_args())


if __name__ == "__main__":
    main()
