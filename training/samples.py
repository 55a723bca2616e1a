"""Builds the shipped recordings and reference texts from what training never heard.

The woman's recorded words are joined into new sentences, as telephone systems do; the man is
Festival's unit-selection voice, which rejoins a real man's recordings. Every sentence is one of the
evaluation's: the monologue takes them in their order, the call those that a caller and a telephone
system might say, chosen by their text and never by how well the model hears them; only the short
clips are chosen because the model hears them right.
"""

from __future__ import annotations

import numpy as np
import soundfile

from training.augment import SAMPLE_RATE, Wave, telephone
from training.paths import SAMPLES
from training.pool import Pool, loudness, trim

MONOLOGUE_S = 66.0
# Sentences of the woman and of the man in turn; the monologue uses her first ones.
CALL = ((61, 93), (53, 84), (43, 63), (66, 74), (45, 60), (33, 24), (41, 9), (65, 90))


def _level(wave: Wave) -> Wave:
    trimmed, _ = trim(wave)
    return (trimmed * np.float32(0.08 / max(loudness(trimmed), 1e-5))).astype(np.float32)


def monologue(rng: np.random.Generator) -> tuple[Wave, str]:
    """Return over a minute of the woman's evaluation sentences, in the pool's order."""
    pool = Pool("eval_ivr")
    parts: list[Wave] = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    lines: list[str] = []
    while sum(map(len, parts)) < MONOLOGUE_S * SAMPLE_RATE:
        parts += [_level(pool.wave(len(lines))), _pause(rng)]
        lines.append(pool.clips[len(lines)].text)
    wave = np.concatenate(parts)
    room = rng.standard_normal(len(wave)).astype(np.float32) * np.float32(0.0003)
    return wave + room, "\n".join(lines)


def call(rng: np.random.Generator) -> tuple[Wave, str]:
    """Return a two-channel telephone call, shape (n_samples, 2), and its text, a line per turn."""
    speakers = (Pool("eval_ivr"), Pool("eval_units"))  # left: the woman, right: the man
    pieces: list[tuple[int, int, Wave]] = []
    lines: list[str] = []
    at = SAMPLE_RATE // 2
    for channel, index in (turn for pair in CALL for turn in enumerate(pair)):
        wave = telephone(_level(speakers[channel].wave(index)), coarse=False)
        pieces.append((channel, at, wave))
        lines.append(speakers[channel].clips[index].text)
        at += len(wave) + len(_pause(rng))
    stereo = (rng.standard_normal((at + SAMPLE_RATE // 2, 2)) * 0.0004).astype(np.float32)
    for channel, first, wave in pieces:
        stereo[first : first + len(wave), channel] += wave
    return stereo, "\n".join(lines)


def _pause(rng: np.random.Generator) -> Wave:
    return np.zeros(int(rng.uniform(0.8, 1.2) * SAMPLE_RATE), np.float32)


# Evaluation clips (pool, index): chosen because the model hears them right, for tests of the chain.
SHORT = {
    "order_number_ru": ("eval_units", 65),
    "balance_ru": ("eval_units", 6),
    "waiting_time_ru": ("eval_ivr", 0),
    "extension_ru": ("eval_ivr", 30),
}


def short(name: str) -> tuple[Wave, str]:
    """Return one utterance with half a second of silence on both sides."""
    source, index = SHORT[name]
    pool = Pool(source)
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    return np.concatenate([pause, pool.wave(index), pause]), pool.clips[index].text


def build() -> None:
    """Write the recordings as 16 kHz FLAC, with their texts, under data/samples."""
    SAMPLES.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(60)
    recordings = {"monologue_ru": monologue(rng), "call_ru": call(rng)}
    recordings |= {name: short(name) for name in SHORT}
    for name, (wave, text) in recordings.items():
        soundfile.write(SAMPLES / f"{name}.flac", np.clip(wave, -1, 1), SAMPLE_RATE, "PCM_16")
        (SAMPLES / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    build()
