"""Word times of recordings that came without them, by the network's own CTC head (Viterbi)."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.batches import ctc_text
from training.compose import Segment
from training.features import log_mel
from training.network import CTC_BLANK, Network, Shape
from training.pool import SAMPLE_RATE, Clip, Pool, PoolWriter, Wave

FRAME_S = 0.02
# CTC peaks sit inside the letters; a word reaches this much further on both sides.
REACH_S = 0.05
_PIECE_S = 20


def letter_frames(
    log_probabilities: npt.NDArray[np.float32], letters: list[int]
) -> list[tuple[int, int]]:
    """Return the first and last frame of each letter on the best CTC path.

    log_probabilities has shape (frames, letters + blank).
    """
    states = [CTC_BLANK]
    for letter in letters:
        states += [letter, CTC_BLANK]
    emit = log_probabilities[:, states]
    skip = np.zeros(len(states), bool)
    for i in range(3, len(states), 2):
        skip[i] = states[i] != states[i - 2]
    score = np.full(len(states), -np.inf)
    score[:2] = emit[0, :2]
    back = np.zeros((len(emit), len(states)), np.int8)
    for frame in range(1, len(emit)):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], score[:-2]]), -np.inf)
        choices = np.stack([score, one, two])
        back[frame] = choices.argmax(0)
        score = choices.max(0) + emit[frame]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    spans = [(len(emit), -1)] * len(letters)
    for frame in range(len(emit) - 1, -1, -1):
        if state % 2:
            first, last = spans[state // 2]
            spans[state // 2] = (min(first, frame), max(last, frame))
        state -= int(back[frame, state])
    return spans


def word_times(network: Network, wave: Wave, text: str) -> list[list[float]]:
    """Return [start, end] in s for each word of the text."""
    rows = []
    for first in range(0, len(wave), _PIECE_S * SAMPLE_RATE):
        piece = wave[first : first + _PIECE_S * SAMPLE_RATE]
        with torch.inference_mode():
            states = network.encoder(log_mel(piece)[None], 0, 0.0)
            rows.append(network.ctc(states)[0].log_softmax(-1).numpy())
    spelled = np.concatenate(rows)
    words = text.split()
    letters = ctc_text([Segment(text, 0, 0)])
    spans = letter_frames(spelled, letters)
    times: list[list[float]] = []
    at = 0
    for word in words:
        count = len(ctc_text([Segment(word, 0, 0)]))
        inside = spans[at : at + count]
        at += count + 1
        start, end = inside[0][0] * FRAME_S - REACH_S, (inside[-1][1] + 1) * FRAME_S + REACH_S
        times.append([max(0.0, round(start, 3)), round(end, 3)])
    return times


def sentences(clip: Clip, times: list[list[float]]) -> list[tuple[int, int]]:
    """Return word ranges [first, last) that end with a full stop or another closing mark."""
    ranges, first = [], 0
    words = clip.text.split()
    for index, word in enumerate(words):
        pause = index + 1 < len(words) and times[index + 1][0] - times[index][1] > 0.12
        if index + 1 == len(words) or (word[-1] in ".!?" and pause):
            ranges.append((first, index + 1))
            first = index + 1
    return ranges


def align_pool(network: Network, source: str, target: str) -> None:
    """Write the pool again, cut into sentences with word times."""
    pool = Pool(source)
    with PoolWriter(target) as out:
        for index, clip in enumerate(pool.clips):
            wave = pool.wave(index)
            times = word_times(network, wave, clip.text)
            ranges = sentences(clip, times)
            if len(ranges) > 1:
                out.add(wave, SAMPLE_RATE, clip.text, clip.voice, times)
            for first, last in ranges:
                words = times[first:last]
                begin, end = max(0.0, words[0][0] - 0.1), words[-1][1] + 0.15
                part = wave[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
                moved = [[a - begin, b - begin] for a, b in words]
                text = " ".join(clip.text.split()[first:last])
                out.add(part, SAMPLE_RATE, text, clip.voice, moved)


def main() -> None:
    """Align the recorded prompts and the read sentences of training with a checkpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    arguments = parser.parse_args()
    stored = torch.load(arguments.checkpoint, weights_only=True)
    network = Network(Shape(**stored["shape"])).eval()
    network.load_state_dict(stored["network"])
    for name in ("prompts", "read"):
        align_pool(network, name, f"{name}_aligned")


if __name__ == "__main__":
    main()
