from collections.abc import Callable

import numpy as np
import pytest

from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Word
from stenograf.llm.whisper.quiet import sounding, trim

Tone = Callable[..., Waveform]
MARGIN = 480


def silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_silence_leaves_a_words_edges(tone: Tone, noise: float) -> None:
    rng = np.random.default_rng(1)
    sound = np.concatenate([silence(0.5), tone(0.4), silence(0.3)])
    sound = (sound + rng.normal(0, noise, sound.shape[0])).astype(np.float32)
    loud = sounding(sound)
    assert loud is not None
    word = trim(Word(start=0, end=sound.shape[0], text=" да"), loud)
    assert (word.start, word.end) == (8000 - MARGIN, 14_400 + MARGIN)


def test_a_word_never_grows(tone: Tone) -> None:
    loud = sounding(np.concatenate([silence(0.5), tone(0.5), silence(0.5)]))
    assert loud is not None
    inside = Word(start=9000, end=12_000, text=" да")
    assert trim(inside, loud) == inside


def test_a_word_in_silence_stays(tone: Tone) -> None:
    loud = sounding(np.concatenate([silence(1.0), tone(0.5)]))
    assert loud is not None
    lost = Word(start=1000, end=9000, text=" эх")
    assert trim(lost, loud) == lost


def test_without_contrast_nothing_is_known(tone: Tone) -> None:
    rng = np.random.default_rng(2)
    assert sounding(tone(2.0)) is None
    assert sounding(rng.normal(0, 0.1, 32_000).astype(np.float32)) is None
    assert sounding(silence(0.001)) is None
    assert sounding(silence(1.0)) is None
