"""Long recordings for benchmarks: stereo 44.1 kHz, with pauses and other levels, made in blocks.

They are written by a process of their own (`make_wav`): a process that once was large passes its
peak resident set on to those it starts, which would spoil the figures.
"""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 44_100
_PHRASES = 6
_PHRASE_S = 11
_SEED = 5


def make_wav(path: Path, seconds: float) -> None:
    """16-bit stereo WAV."""
    command = [sys.executable, "-m", "bench.longfile", str(path), str(seconds)]
    subprocess.run(command, check=True)


def make_mp3(path: Path, wav: Path, seconds: float) -> None:
    """128 kbit/s of the same sound, by the ffmpeg command: one round of phrases, repeated."""
    once = path.with_name("once.mp3")
    encode = ["-t", str(_PHRASES * _PHRASE_S), "-i", str(wav), "-b:a", "128k", str(once)]
    repeat = ["-stream_loop", "-1", "-i", str(once), "-t", str(seconds), "-c", "copy", str(path)]
    for arguments in (encode, repeat):
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def _write_wav(path: Path, seconds: float) -> None:
    phrases = [_phrase(number) for number in range(_PHRASES)]
    remaining = round(seconds * RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        number = 0
        while remaining > 0:
            phrase = phrases[number % len(phrases)][:remaining]
            file.writeframes(phrase.tobytes())
            remaining -= len(phrase)
            number += 1


def _phrase(number: int) -> NDArray[np.int16]:
    """A phrase and a pause, shape (n_samples, 2)."""
    random = np.random.default_rng(_SEED + number)
    time_s = np.arange(_PHRASE_S * RATE) / RATE
    pitch = np.cumsum(110 + 12 * number + 25 * np.sin(2 * np.pi * 0.6 * time_s)) / RATE
    voice = np.sum([np.sin(2 * np.pi * k * pitch) / k for k in range(1, 24)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4, 0, 1) * (time_s < _PHRASE_S - 2)
    mono = voice * syllables * 10 ** (random.uniform(-24, -12) / 20)
    room = random.normal(0, 2e-3, (len(mono), 2))
    stereo = np.stack([mono, 0.8 * mono], axis=1) + room
    return (np.clip(stereo, -1, 1) * 32767).astype(np.int16)


if __name__ == "__main__":
    _write_wav(Path(sys.argv[1]), float(sys.argv[2]))
