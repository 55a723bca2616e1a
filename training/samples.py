"""Builds the shipped recordings and reference texts from what training never heard.

The woman is heard in recordings of hers that no training step used; the man is Festival's
unit-selection voice, which rejoins a real man's recordings, saying sentences new to the model.
"""

from __future__ import annotations

import numpy as np
import soundfile

from training.augment import SAMPLE_RATE, Wave, telephone
from training.festival import say_all
from training.grammar import held_out_prompts, read_prompts
from training.paths import SAMPLES
from training.pool import Pool, loudness, trim
from training.synthesize import recording

MONOLOGUE = [
    "vm-instructions",
    "vm-tocallback",
    "conf-getconfno",
    "vm-msginstruct",
    "vm-saveoper",
    "vm-whichbox",
    "vm-next",
    "vm-review-urgent",
    "vm-rec-name",
    "pbx-invalid",
    "vm-toforward",
    "vm-repeat",
    "vm-intro",
    "vm-tomakecall",
    "vm-reachoper",
    "vm-undelete",
    "vm-passchanged",
]
CALL = (
    ("woman", "queue-callswaiting"),
    ("man", "Здравствуйте, моя фамилия Соколов, имя Сергей."),
    ("woman", "agent-user"),
    ("man", "Номер моего заказа две тысячи триста шестьдесят четыре."),
    ("woman", "vm-incorrect-mailbox"),
    ("man", "Номер телефона восемь, девятьсот десять, двести пять, сорок, семнадцать."),
    ("woman", "vm-newpassword"),
    ("man", "Пароль семь один ноль девять четыре."),
    ("woman", "vm-passchanged"),
    ("man", "Запишите меня на двадцать третье ноября."),
    ("woman", "vm-reachoper"),
    ("man", "Курьер приедет в четверг в девять часов утра."),
    ("woman", "followme/pls-hold-while-try"),
    ("man", "К оплате семь тысяч сто двадцать рублей."),
    ("woman", "vm-deleted"),
)


def _level(wave: Wave) -> Wave:
    trimmed, _ = trim(wave)
    return (trimmed * np.float32(0.08 / max(loudness(trimmed), 1e-5))).astype(np.float32)


def _man(texts: list[str]) -> dict[str, Wave]:
    known = {clip.text for name in ("festival", "espeak") for clip in Pool(name).clips}
    for text in texts:
        if text in known:
            raise ValueError(f"the model was trained on «{text}»")
    said = {text: wave.astype(np.float32) / 32768 for text, wave, _, _ in say_all(texts)}
    missing = set(texts) - set(said)
    if missing:
        raise RuntimeError(f"Festival could not say {missing}")
    return said


def monologue(rng: np.random.Generator) -> tuple[Wave, str]:
    """Return over a minute of the woman's held-out recordings and their text."""
    texts, held_out = read_prompts(), set(held_out_prompts())
    parts: list[Wave] = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for name in MONOLOGUE:
        if name not in held_out:
            raise ValueError(f"{name} is not held out")
        pause = np.zeros(int(rng.uniform(0.5, 1.1) * SAMPLE_RATE), np.float32)
        parts += [_level(recording(name)), pause]
    wave = np.concatenate(parts)
    room = rng.standard_normal(len(wave)).astype(np.float32) * np.float32(0.0003)
    return wave + room, "\n".join(texts[name] for name in MONOLOGUE)


def call(rng: np.random.Generator) -> tuple[Wave, str]:
    """Return a two-channel telephone call, shape (n_samples, 2), and its text, a line per turn."""
    texts = read_prompts()
    men = _man([what for who, what in CALL if who == "man"])
    pieces: list[tuple[int, int, Wave]] = []
    lines: list[str] = []
    at = SAMPLE_RATE // 2
    for who, what in CALL:
        wave = telephone(_level(recording(what) if who == "woman" else men[what]), coarse=False)
        pieces.append((0 if who == "woman" else 1, at, wave))
        lines.append(texts[what] if who == "woman" else what)
        at += len(wave) + int(rng.uniform(0.35, 0.8) * SAMPLE_RATE)
    stereo = (rng.standard_normal((at + SAMPLE_RATE // 2, 2)) * 0.0004).astype(np.float32)
    for channel, first, wave in pieces:
        stereo[first : first + len(wave), channel] += wave
    return stereo, "\n".join(lines)


# Evaluation clips (pool, index): chosen because the model hears them right, for tests of the chain.
SHORT = {
    "order_number_ru": ("eval_units", 3),
    "order_price_ru": ("eval_units", 24),
    "waiting_time_ru": ("eval_ivr", 0),
    "extension_ru": ("eval_ivr", 37),
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
