"""A long recording whose every word has known times: espeak-ng words set side by side."""

import io
import random
import subprocess
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

_ESPEAK_HZ = 22_050
RATE_HZ = 44_100
_FLOOR = 0.01  # of full scale; quieter beginnings and ends of a word are cut away
_VOCABULARY = """
добрый день мастер приедет завтра утром в десять часов пожалуйста подготовьте документы и ключи от
подъезда адрес город тверь улица садовая дом двенадцать квартира сорок пять телефон остался прежний
стоимость ремонта составит четыре тысячи триста рублей без учёта доставки запасных частей если
понадобится замена насоса мы предупредим заранее спасибо за звонок до свидания ждите сообщения
"""


@dataclass(frozen=True)
class SpokenWord:
    """One word and where it sounds, seconds."""

    text: str
    start_s: float
    end_s: float


def synthesize(path: Path, length_s: float, channels: int, seed: int = 1) -> list[SpokenWord]:
    """Write a 44.1 kHz s16 WAV of `length_s` seconds of Russian phrases with pauses.

    Gives the times of its words. Raises FileNotFoundError when espeak-ng is not installed.
    """
    chance, vocabulary = random.Random(seed), _VOCABULARY.split()
    pieces: list[NDArray[np.float32]] = []
    words: list[SpokenWord] = []
    at = 0

    def silence(seconds: float) -> None:
        nonlocal at
        pieces.append(np.zeros(round(seconds * RATE_HZ), np.float32))
        at += len(pieces[-1])

    silence(0.5)
    while at < length_s * RATE_HZ:
        for _ in range(chance.randint(4, 14)):
            text = chance.choice(vocabulary)
            sound = _spoken(text)
            words.append(SpokenWord(text, at / RATE_HZ, (at + len(sound)) / RATE_HZ))
            pieces.append(sound)
            at += len(sound)
            silence(chance.uniform(0.02, 0.08))
        silence(chance.uniform(0.6, 1.6))
    length = round(length_s * RATE_HZ)
    mono = np.concatenate(pieces)[:length]
    _write(path, mono + _room(length, seed), channels)
    return [word for word in words if word.end_s <= length_s]


@cache
def _spoken(text: str) -> NDArray[np.float32]:
    command = ["espeak-ng", "-v", "ru", "-s", "150", "--stdout", text]
    body = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(body)) as file:
        raw = file.readframes(file.getnframes())
        if file.getframerate() != _ESPEAK_HZ:
            raise ValueError(f"espeak-ng speaks at {file.getframerate()} Hz")
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / 32_768
    loud = np.flatnonzero(np.abs(samples) > _FLOOR)
    trimmed = samples[loud[0] : loud[-1] + 1]
    return np.asarray(resample_poly(trimmed, RATE_HZ // _ESPEAK_HZ, 1), np.float32)


def _room(length: int, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(length, np.float32)
    return noise * np.float32(0.0003)


def _write(path: Path, mono: NDArray[np.float32], channels: int) -> None:
    samples = np.rint(np.clip(mono, -1, 1) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.repeat(samples, channels).tobytes())
