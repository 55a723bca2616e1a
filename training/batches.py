"""Batches made in background processes: features, tokens, letters, frame words and spans."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch import multiprocessing as processes
from transformers import WhisperTokenizerFast

from training.augment import SAMPLE_RATE, Rng
from training.compose import Library, Segment, make_window
from training.features import log_mel
from training.network import CTC_ALPHABET, FRAME_WORDS
from training.pool import Pool

IGNORE = -100
FRAMES_PER_S = 50
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_S


@dataclass(frozen=True)
class Recipe:
    """How windows are made in one stage of training."""

    seconds: tuple[float, ...]
    audio_per_batch_s: float
    weights: tuple[tuple[str, float], ...]
    empty: float = 0.08
    strength: float = 1.0
    timestamps: float = 0.5
    bare_prompt: float = 0.1
    padded: float = 0.0  # share of batches with zeros behind the sound, as recognizers pad


@dataclass
class Batch:
    """One step's tensors; frames count 20 ms from the first frame of the (virtual) 30 s window."""

    mel: Tensor
    first_frame: int
    tokens: Tensor
    targets: Tensor
    spans: Tensor
    input_spans: Tensor
    ctc_targets: Tensor
    ctc_lengths: Tensor
    frame_words: Tensor


class Lexicon:
    """Numbers the words of the pools whose times are known; 0 is silence, 1 any other word."""

    def __init__(self, pools: list[str]) -> None:
        counts = Counter(
            word
            for name in pools
            for clip in Pool(name).clips
            if clip.words
            for word in map(plain, clip.text.split())
        )
        kept = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: FRAME_WORDS - 2]
        self._numbers = {word: number for number, (word, _) in enumerate(kept, start=2)}

    def label(self, segments: list[Segment], frames: int) -> Tensor:
        """Return the word spoken in each 20 ms frame, shape (frames,); IGNORE where unknown."""
        labels = torch.zeros(frames, dtype=torch.long)
        for segment in segments:
            if not segment.words:
                first, last = int(segment.start * 50) - 5, int(segment.end * 50) + 5
                labels[max(0, first) : last] = IGNORE
            for word, (start, end) in zip(segment.text.split(), segment.words, strict=False):
                number = self._numbers.get(plain(word), 1)
                labels[round(max(0.0, start) * 50) : round(end * 50)] = number
        return labels


def plain(word: str) -> str:
    """Lower case without punctuation, ё as е."""
    return "".join(c for c in word.lower().replace("ё", "е") if c.isalpha())


class Targets:
    """Turns segments into decoder inputs, targets and the frames each token should look at."""

    def __init__(self, tokenizer: WhisperTokenizerFast) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.convert_tokens_to_ids
        self.start, self.end = ids("<|startoftranscript|>"), ids("<|endoftext|>")
        self.language, self.task = ids("<|ru|>"), ids("<|transcribe|>")
        self.no_speech, self.no_times = ids("<|nospeech|>"), ids("<|notimestamps|>")
        self.zero = ids("<|0.00|>")
        self._cache: dict[str, list[int]] = {}

    def _encode(self, word: str) -> list[int]:
        if word not in self._cache:
            self._cache[word] = self._tokenizer.encode(word, add_special_tokens=False)
        return self._cache[word]

    def build(
        self, segments: list[Segment], offset_s: float, with_times: bool, bare: bool
    ) -> tuple[list[int], list[int], list[tuple[float, float]]]:
        """Return inputs, targets (IGNORE where not learned) and each target's [start, end] in s."""
        sequence = [self.start] if bare else [self.start, self.language, self.task]
        learned = [IGNORE if bare else (self.language if segments else self.no_speech)]
        learned += [IGNORE] * (len(sequence) - 1)
        spans = [(-1.0, -1.0)] * len(sequence)
        if bare and not segments:
            learned[0] = self.no_speech
        if not with_times:
            sequence.append(self.no_times)
            learned.append(IGNORE)
            spans.append((-1.0, -1.0))
        body: list[int] = []
        where: list[tuple[float, float]] = []
        for segment in segments:
            if with_times:
                body.append(self._stamp(segment.start + offset_s))
                where.append((segment.start - 0.06, segment.start + 0.1))
            for index, word in enumerate(segment.text.split()):
                pieces = self._encode(" " + word)
                body += pieces
                span = tuple(segment.words[index]) if segment.words else (-1.0, -1.0)
                where += [span] * len(pieces)  # type: ignore[list-item]
            if with_times:
                body.append(self._stamp(segment.end + offset_s))
                where.append((segment.end - 0.1, segment.end + 0.06))
        if with_times and not segments:
            body.append(self.zero)
            where.append((-1.0, -1.0))
        inputs = sequence + body
        targets = learned[:-1] + body + [self.end]
        if with_times and not bare:
            targets[len(sequence) - 1] = body[0]
        # The row that predicts the end looks just behind the last word: that gives the word's end.
        last = (segments[-1].end, segments[-1].end + 0.2) if segments else (-1.0, -1.0)
        return inputs, targets, spans[:-1] + where + [last]

    def _stamp(self, time_s: float) -> int:
        return self.zero + min(1500, max(0, round(time_s * 50)))


def ctc_text(segments: list[Segment]) -> list[int]:
    """Return the characters the encoder should spell, as indices of CTC_ALPHABET."""
    text = " ".join(s.text for s in segments).lower().replace("ё", "е")
    kept = "".join(c if c in CTC_ALPHABET else " " for c in text)
    return [CTC_ALPHABET.index(c) for c in " ".join(kept.split())]


def make_batch(
    rng: Rng, library: Library, targets: Targets, lexicon: Lexicon, recipe: Recipe
) -> Batch:
    """Compose one batch: windows of one length, at a random place of the 30 s or zero-padded."""
    seconds = float(rng.choice(recipe.seconds))
    context_s = seconds
    if rng.random() < recipe.padded:
        context_s = float(rng.choice([30.0, rng.uniform(seconds, 30.0)], p=[0.7, 0.3]))
    frames = int(context_s * FRAMES_PER_S)
    padding = np.zeros(frames * SAMPLES_PER_FRAME - int(seconds * SAMPLE_RATE), np.float32)
    size = max(2, int(recipe.audio_per_batch_s / context_s))
    anywhere = context_s == seconds and rng.random() < 0.7
    first = int(rng.integers(0, 1500 - frames + 1)) if anywhere else 0
    mels, rows, characters, labels = [], [], [], []
    for _ in range(size):
        wave, segments = make_window(rng, library, seconds, recipe.empty, recipe.strength)
        mels.append(log_mel(np.concatenate([wave, padding])))
        rows.append(
            targets.build(
                segments,
                first / FRAMES_PER_S,
                bool(rng.random() < recipe.timestamps),
                bool(rng.random() < recipe.bare_prompt),
            )
        )
        characters.append(ctc_text(segments))
        labels.append(lexicon.label(segments, frames))
    length = max(len(row[0]) for row in rows)
    tokens = torch.full((size, length), targets.end)
    goal = torch.full((size, length), IGNORE)
    spans = torch.full((size, length, 2), -1.0)
    for i, (inputs, outputs, where) in enumerate(rows):
        tokens[i, : len(inputs)] = torch.tensor(inputs)
        goal[i, : len(outputs)] = torch.tensor(outputs)
        spans[i, : len(where)] = torch.tensor(where)
    before = torch.cat([torch.full((size, 1, 2), -1.0), spans[:, :-1]], dim=1)
    flat = torch.tensor([c for row in characters for c in row], dtype=torch.long)
    lengths = torch.tensor([len(row) for row in characters])
    return Batch(
        torch.stack(mels), first, tokens, goal, spans, before, flat, lengths, torch.stack(labels)
    )


def _produce(seed: int, recipe: Recipe, tokenizer: Path, out: processes.Queue[Batch]) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    library = Library(dict(recipe.weights))
    targets = Targets(WhisperTokenizerFast.from_pretrained(tokenizer))
    lexicon = Lexicon([name for name, _ in recipe.weights])
    while True:
        out.put(make_batch(rng, library, targets, lexicon, recipe))


class BatchStream:
    """Endless batches from worker processes; close it to end them."""

    def __init__(self, recipe: Recipe, tokenizer: Path, seed: int, workers: int = 1) -> None:
        context = processes.get_context("spawn")
        self._queue: processes.Queue[Batch] = context.Queue(maxsize=12)
        self._workers = [
            context.Process(
                target=_produce, args=(seed + i, recipe, tokenizer, self._queue), daemon=True
            )
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            try:
                yield self._queue.get(timeout=60)
            except queue.Empty:
                if not all(worker.is_alive() for worker in self._workers):
                    raise RuntimeError("a batch worker died") from None

    def close(self) -> None:
        """Stop the workers."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
