"""Recordings that are small to send and long to decode, and the windows of them."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from numpy.typing import NDArray

from stenograf.audio import loudness
from stenograf.audio.decode import DecodeLimits, decode
from stenograf.audio.spool import Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import cut, quietest_in
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, to_s16

from ..audio.sounds import babble, tone

SPEECH_S = 100
TOLD_S = SPEECH_S + 30.0  # so much is to be decoded before the end of the speech is known
LONG_S = 900
_HIGH = 3  # times the samples: more to decode and no more to hear
Sound = NDArray[np.float32]


@functools.cache
def speech() -> Sound:
    """Phrases with pauses between them at a level that `auto` leaves alone."""
    waveform = babble(SPEECH_S, seed=7)
    rng = np.random.default_rng(3)
    position_s = 0.0
    while position_s < SPEECH_S:
        position_s += rng.uniform(2, 6)
        pause_s = rng.choice([0.8, 1.5, 3.0])
        waveform[round(position_s * SAMPLE_RATE) : round((position_s + pause_s) * SAMPLE_RATE)] = 0
        position_s += pause_s
    return (np.round(waveform * 32767) / 32768).astype(np.float32)


def flac(*parts: Sound) -> bytes:
    """A file of them, one after the other, with LONG_S of silence after the first."""
    first, *others = parts
    rate = _HIGH * SAMPLE_RATE
    with io.BytesIO() as out:
        with soundfile.SoundFile(out, "w", rate, 1, "PCM_16", format="FLAC") as file:
            file.write(np.repeat(first, _HIGH))
            for _ in range(LONG_S // 60):
                file.write(np.zeros(60 * rate, np.int16))
            for part in others:
                file.write(np.repeat(part, _HIGH))
        return out.getvalue()


@functools.cache
def calm() -> bytes:
    """Its gain is 1 with `auto`."""
    return flac(speech())


@functools.cache
def quiet() -> bytes:
    """Too quiet for `auto`, from the beginning on."""
    return flac(speech() / 64)


@functools.cache
def shrill() -> bytes:
    """Too loud for `auto`, but only its last minute is."""
    return flac(speech(), tone(60, peak=0.9).astype(np.float32))


@functools.lru_cache(maxsize=8)
def windows(content: bytes, options: str) -> Sequence[bytes]:
    """Samples of every window, s16: all decoded, then all heard, then all cut; options as JSON."""
    wanted = TranscribeOptions.model_validate_json(options)
    with TemporaryDirectory() as folder:
        source, path = Path(folder) / "source", Path(folder) / "spool"
        source.write_bytes(content)
        sound = decode(source, path, DecodeLimits(min_free_bytes=0))
        gain, _ = loudness.gain(sound.level, wanted.normalize)
        with Spool(path) as spool:
            spans = VoiceDetector().spans(spool.blocks(), wanted.cut, gain)
            found = cut(spans, spool.n_samples, wanted.cut, quietest_in(spool))
            return [to_s16(spool.read(each.start, each.end) * gain) for each in found]
