"""What rooms, telephones and recorders do to speech, and the sounds that are no speech at all."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.signal

SAMPLE_RATE = 16_000
Wave = npt.NDArray[np.float32]
Rng = np.random.Generator


def colored_noise(rng: Rng, count: int, tilt_db: float) -> Wave:
    """Return unit-RMS noise whose spectrum falls by `tilt_db` per octave; built by FFT."""
    size = 1 << 16
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    shape = (np.maximum(frequencies, 40) / 1000) ** (-tilt_db / 6.02)
    spectrum = shape * np.exp(2j * np.pi * rng.random(len(shape)))
    block = np.fft.irfft(spectrum, size)
    block = np.tile(block / block.std(), count // size + 2)
    first = rng.integers(0, size)
    return block[first : first + count].astype(np.float32)


def hum(rng: Rng, count: int) -> Wave:
    """Return mains hum with harmonics, unit RMS."""
    time = np.arange(count) / SAMPLE_RATE
    base = rng.choice([50.0, 60.0, rng.uniform(80, 400)])
    wave = np.zeros(count)
    for harmonic in range(1, int(rng.integers(2, 9))):
        phase = rng.uniform(0, 6.28)
        wave += rng.uniform(0.1, 1) / harmonic * np.sin(2 * np.pi * base * harmonic * time + phase)
    return (wave / (wave.std() + 1e-9)).astype(np.float32)


def music(rng: Rng, count: int) -> Wave:
    """Return made-up music: chords and a melody of decaying harmonics, with a beat; unit RMS."""
    wave = np.zeros(count + SAMPLE_RATE * 3)
    beat = int(SAMPLE_RATE * rng.uniform(0.12, 0.7))
    root = rng.uniform(80, 330)
    scale = rng.choice([0, 2, 3, 5, 7, 8, 10, 12, 4, 9, 11], size=7)
    decay = rng.uniform(0.8, 8)
    partials = int(rng.integers(1, 9))
    drums = rng.random() < 0.5
    for at in range(0, count, beat):
        length = int(beat * rng.uniform(0.8, 3))
        time = np.arange(min(length, len(wave) - at)) / SAMPLE_RATE
        for _ in range(int(rng.integers(1, 4))):
            pitch = root * 2 ** (rng.choice(scale) / 12 + rng.integers(0, 3))
            vibrato = 1 + 0.004 * np.sin(2 * np.pi * rng.uniform(4, 7) * time)
            for k in range(1, partials + 1):
                tone = np.sin(2 * np.pi * pitch * k * time * vibrato)
                wave[at : at + len(time)] += rng.uniform(0.2, 1) / k * tone * np.exp(-decay * time)
        if drums and rng.random() < 0.6:
            burst = rng.standard_normal(2000) * np.exp(-np.arange(2000) / rng.uniform(100, 600))
            wave[at : at + 2000] += burst * rng.uniform(0.3, 2)
    wave = wave[:count]
    return (wave / (wave.std() + 1e-9)).astype(np.float32)


def tones(rng: Rng, count: int) -> Wave:
    """Return dial tones, beeps, key tones or clicks with pauses; unit RMS."""
    wave = np.zeros(count)
    pairs = [(425, 0), (697, 1209), (770, 1336), (852, 1477), (941, 1336), (1000, 0), (440, 480)]
    at, step = 0, rng.uniform(0.08, 1.2)
    clicks = rng.random() < 0.25
    while at < count:
        length = int(SAMPLE_RATE * step * rng.uniform(0.5, 1))
        time = np.arange(min(length, count - at)) / SAMPLE_RATE
        low, high = pairs[rng.integers(len(pairs))]
        if clicks:
            wave[at : at + 60] += rng.standard_normal(len(wave[at : at + 60]))
        else:
            wave[at : at + len(time)] = np.sin(2 * np.pi * low * time)
            if high:
                wave[at : at + len(time)] += np.sin(2 * np.pi * high * time)
        at += int(length * rng.uniform(1.2, 3))
    return (wave / (wave.std() + 1e-9)).astype(np.float32)


def background(rng: Rng, count: int) -> Wave:
    """Return any sound that is no speech, unit RMS, sometimes slowly swelling."""
    kind = rng.choice(["noise", "hum", "music", "tones", "mix"], p=[0.5, 0.12, 0.16, 0.1, 0.12])
    if kind == "noise":
        wave = colored_noise(rng, count, float(rng.uniform(-3, 9)))
    elif kind == "hum":
        wave = hum(rng, count)
    elif kind == "music":
        wave = music(rng, count)
    elif kind == "tones":
        wave = tones(rng, count)
    else:
        wave = hum(rng, count) + colored_noise(rng, count, float(rng.uniform(0, 6)))
    if rng.random() < 0.3:
        time = np.arange(count) / SAMPLE_RATE
        wave = wave * (
            1 + 0.8 * np.sin(2 * np.pi * rng.uniform(0.05, 3) * time + rng.uniform(0, 6))
        )
    return wave.astype(np.float32)


@cache
def _telephone_band() -> npt.NDArray[np.float64]:
    return np.asarray(scipy.signal.butter(6, [250, 3500], "band", fs=SAMPLE_RATE, output="sos"))


def telephone(wave: Wave, coarse: bool = True) -> Wave:
    """Limit to the 8 kHz telephone band and, if `coarse`, quantize by mu-law at 8 bits."""
    narrow = scipy.signal.sosfilt(_telephone_band(), wave)
    if coarse:
        peak = np.abs(narrow).max() + 1e-9
        log = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log(256)
        log = np.round(log * 127) / 127
        narrow = np.sign(log) * np.expm1(np.abs(log) * np.log(256)) / 255 * peak
    return narrow.astype(np.float32)


def reverberate(rng: Rng, wave: Wave) -> Wave:
    """Convolve with exponentially decaying noise after a direct sound (a made-up small room)."""
    decay_s = rng.uniform(0.08, 0.5)
    tail = np.arange(int(SAMPLE_RATE * decay_s)) / SAMPLE_RATE
    response = rng.standard_normal(len(tail)) * np.exp(-6.9 * tail / decay_s)
    response *= rng.uniform(0.02, 0.12) / (np.abs(response).max() + 1e-9)
    response[0] = 1
    return scipy.signal.oaconvolve(wave, response)[: len(wave)].astype(np.float32)


def equalize(rng: Rng, wave: Wave) -> Wave:
    """Tilt and bend the spectrum as another microphone would (two random shelves or peaks)."""
    for _ in range(int(rng.integers(1, 3))):
        pole = rng.uniform(-0.5, 0.5)
        zero = rng.uniform(-0.5, 0.5)
        wave = scipy.signal.lfilter([1, zero], [1, pole], wave).astype(np.float32)
    return wave


def degrade(rng: Rng, wave: Wave, strength: float = 1.0) -> Wave:
    """Apply a random chain of microphone, room, noise, line and gain to a window of speech.

    The result spans -40…0 dB of gain; `strength` in [0, 1] scales how often each step happens.
    """
    chance = rng.random(6) / max(strength, 1e-6)
    if chance[0] < 0.5:
        wave = equalize(rng, wave)
    if chance[1] < 0.25:
        wave = reverberate(rng, wave)
    level = float(np.sqrt((wave**2).mean()) + 1e-6)
    if chance[2] < 0.65:
        snr_db = rng.uniform(3, 35)
        wave = wave + background(rng, len(wave)) * np.float32(level * 10 ** (-snr_db / 20))
    if chance[3] < 0.25:
        wave = telephone(wave, bool(rng.random() < 0.6))
    if chance[4] < 0.06:
        limit = np.quantile(np.abs(wave), 0.995) + 1e-6
        wave = np.clip(wave, -limit, limit)
    peak = float(np.abs(wave).max() + 1e-9)
    gain_db = rng.uniform(-40, 0) if chance[5] < 0.7 else -6.0
    return (wave / peak * np.float32(10 ** (gain_db / 20))).astype(np.float32)
