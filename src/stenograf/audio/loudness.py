"""Level and the one gain that normalization applies to a whole recording.

No second, normalized copy is ever made: the spool keeps the original, and the gain is applied
whenever a piece is read.
"""

import math

import numpy as np

from stenograf.audio.measurement import Measurement
from stenograf.contract.options import NormalizeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Level, Levels

GOOD_LUFS = (-30.0, -14.0)  # auto leaves this range alone: speech as people publish and record it
AUTO_TARGET_LUFS = -20.0
MAX_GAIN_DB = 60.0  # more would only lift the noise of the recorder

_BLOCK_SAMPLES = SAMPLE_RATE * 2 // 5
_GATE_DB = -10.0


def level(measurement: Measurement) -> Level:
    """The measurement in decibels; None for what silence or a too short file does not have."""
    return Level(
        peak_db=_decibels(measurement.peak),
        true_peak_db=_decibels(measurement.true_peak),
        rms_db=_decibels(measurement.rms),
        lufs=measurement.lufs,
    )


def known_gain(options: NormalizeOptions) -> float | None:
    """The gain where it does not depend on the recording; None where that must be heard first."""
    return 1.0 if options.method == "as is" else None


def likely_gain(options: NormalizeOptions, speech: Waveform | None = None) -> float | None:
    """What the gain of a whole recording may well come to; None where nobody can tell.

    Nothing speaks against a level that `auto` leaves alone before `speech`, a piece of the
    recording with somebody speaking in it, shape (n_samples,), is found to have another one.
    """
    if options.method != "auto":
        return known_gain(options)
    return 1.0 if speech is None or _sounds_good(speech) else None


def gain(before: Level, options: NormalizeOptions) -> tuple[float, Levels]:
    """The linear gain for a recording of level `before`, and its level before and after.

    `as is` is always 1. `peak` brings the sample peak to its target, `rms` and `lufs` bring their
    measure to `target_db`; `auto` brings loudness to -20 LUFS, but only where it is outside
    GOOD_LUFS. Where the measure does not exist (silence, a fraction of a second) the gain is 1.
    In `rms`, `lufs` and `auto` the gain gives way to the true-peak ceiling and says so (`limited`);
    `peak` names its own ceiling. `after` is computed, not measured again: under -60 LUFS, where
    BS.1770's absolute gate leaves quiet passages out, a measured loudness would come out lower.
    """
    wanted_db = _wanted_db(before, options)
    if wanted_db is None:
        return 1.0, Levels(before=before, after=before, method=options.method)
    gain_db = min(wanted_db, MAX_GAIN_DB, _headroom_db(before, wanted_db, options))
    levels = Levels(
        before=before,
        after=_shifted(before, gain_db),
        gain_db=gain_db,
        method=options.method,
        limited=gain_db < min(wanted_db, MAX_GAIN_DB),
    )
    return 10 ** (gain_db / 20), levels


def _sounds_good(speech: Waveform) -> bool:
    """Whether it is about as loud as GOOD_LUFS say; the meter's filters change speech little."""
    blocks = np.array_split(speech, max(1, len(speech) // _BLOCK_SAMPLES))
    powers = np.array([np.square(block).mean() for block in blocks if len(block)])
    if not len(powers) or not powers.any() or np.abs(speech).max() > 1.0:
        return False
    audible = powers[powers > powers.mean() * 10 ** (_GATE_DB / 10)]
    return GOOD_LUFS[0] <= 10 * math.log10(audible.mean()) <= GOOD_LUFS[1]


def _wanted_db(before: Level, options: NormalizeOptions) -> float | None:
    """The gain that reaches the target, None where there is nothing to reach it with."""
    match options.method:
        case "as is":
            return None
        case "peak":
            return _difference(20 * math.log10(options.target_peak), before.peak_db)
        case "rms":
            return _difference(options.target_db, before.rms_db)
        case "lufs":
            return _difference(options.target_db, before.lufs)
        case "auto":
            if before.lufs is not None and GOOD_LUFS[0] <= before.lufs <= GOOD_LUFS[1]:
                return 0.0
            return _difference(AUTO_TARGET_LUFS, before.lufs)


def _headroom_db(before: Level, wanted_db: float, options: NormalizeOptions) -> float:
    if options.method == "peak" or before.true_peak_db is None or before.peak_db is None:
        return math.inf
    if wanted_db == 0.0 and before.peak_db <= 0.0:
        return math.inf  # left alone, and no sample is clipped on its way
    return options.ceiling_db - before.true_peak_db


def _difference(target_db: float, measured_db: float | None) -> float | None:
    return None if measured_db is None else target_db - measured_db


def _shifted(before: Level, gain_db: float) -> Level:
    def shift(value: float | None) -> float | None:
        return None if value is None else value + gain_db

    return Level(
        peak_db=shift(before.peak_db),
        true_peak_db=shift(before.true_peak_db),
        rms_db=shift(before.rms_db),
        lufs=shift(before.lufs),
    )


def _decibels(linear: float) -> float | None:
    return 20 * math.log10(linear) if linear > 0 else None
