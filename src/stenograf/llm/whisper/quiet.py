"""Word edges leave the silence that attention gave to them."""

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Word

_FRAME = SAMPLE_RATE // 100  # 10 ms
_MARGIN = 3 * _FRAME  # soft consonants at a word's edge stay
_BELOW_LOUD_DB = 30.0
_ABOVE_FLOOR_DB = 6.0
_LEAST_CONTRAST_DB = 15.0  # a window without it is all speech or all noise: nothing is known


def sounding(waveform: Waveform) -> NDArray[np.bool_] | None:
    """Which 10 ms frames of a window, shape (n_samples,), are not silence; None if unclear.

    Silence is what lies 30 dB under the loud frames (95th percentile) or less than 6 dB over the
    quiet ones (10th percentile), but never what is within 15 dB of the loud ones.
    """
    frames = waveform.shape[0] // _FRAME
    if frames == 0:
        return None
    blocks = waveform[: frames * _FRAME].astype(np.float64).reshape(frames, _FRAME)
    level_db = 10 * np.log10(np.mean(np.square(blocks), axis=1) + 1e-10)
    floor_db, loud_db = np.percentile(level_db, [10, 95])
    if loud_db - floor_db < _LEAST_CONTRAST_DB:
        return None
    threshold = max(loud_db - _BELOW_LOUD_DB, floor_db + _ABOVE_FLOOR_DB)
    return np.asarray(level_db > min(threshold, loud_db - _LEAST_CONTRAST_DB))


def trim(word: Word, loud: NDArray[np.bool_]) -> Word:
    """The same word without silence at its edges; a word that is all silence stays as it is."""
    first = word.start // _FRAME
    heard = np.flatnonzero(loud[first : -(-word.end // _FRAME)])
    if heard.size == 0:
        return word
    start = max(word.start, (first + int(heard[0])) * _FRAME - _MARGIN)
    end = min(word.end, (first + int(heard[-1]) + 1) * _FRAME + _MARGIN)
    return word.model_copy(update={"start": start, "end": max(start, end)})
