"""One gain from a level and the options."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.audio.loudness import GOOD_LUFS, MAX_GAIN_DB, gain, known_gain, level, likely_gain
from stenograf.audio.meter import Meter
from stenograf.contract.options import NormalizeMethod, NormalizeOptions
from stenograf.contract.pcm import Waveform
from stenograf.contract.transcript import Level

from .sounds import babble

METHODS = ("auto", "as is", "peak", "rms", "lufs")


def _level(waveform: Waveform) -> Level:
    meter = Meter()
    meter.add(waveform)
    return level(meter.measurement)


def _scaled(peak: float, seconds: float = 4.0) -> Waveform:
    samples = babble(seconds)
    return (samples * (peak / np.abs(samples).max())).astype(np.float32)


@settings(max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    peak_db=st.floats(-70, 12),
    target_peak=st.floats(0.01, 1),
    target_db=st.floats(-40, -10),
    ceiling_db=st.floats(-12, 0),
)
def test_the_target_is_reached_or_the_ceiling_named(
    method: NormalizeMethod,
    peak_db: float,
    target_peak: float,
    target_db: float,
    ceiling_db: float,
) -> None:
    waveform = _scaled(10 ** (peak_db / 20))
    options = NormalizeOptions(
        method=method, target_peak=target_peak, target_db=target_db, ceiling_db=ceiling_db
    )
    factor, levels = gain(_level(waveform), options)
    after = _level(waveform * np.float32(factor))
    assert math.isfinite(factor)
    assert factor > 0
    assert levels.gain_db == pytest.approx(20 * math.log10(factor), abs=1e-9)
    # Under -60 LUFS the absolute gate, -70 LUFS, cuts passages that it spares at another level.
    gated = levels.after.lufs is None or min(levels.before.lufs or 0, levels.after.lufs) < -59
    for measure in ("peak_db", "true_peak_db", "rms_db", *(() if gated else ("lufs",))):
        expected, found = getattr(levels.after, measure), getattr(after, measure)
        if expected is not None and found is not None:
            assert found == pytest.approx(expected, abs=0.05), measure
    strongest = factor == pytest.approx(10 ** (MAX_GAIN_DB / 20))
    if method == "as is":
        assert factor == 1.0
    elif method == "peak":
        reached_peak = 10 ** ((after.peak_db or 0) / 20)
        assert reached_peak == pytest.approx(target_peak, rel=1e-4) or (
            strongest and reached_peak < target_peak
        )
    elif method == "rms" or (method == "lufs" and not gated):
        reached = after.rms_db if method == "rms" else after.lufs
        assert reached is not None
        if levels.limited:
            assert reached < target_db
            assert after.true_peak_db == pytest.approx(ceiling_db, abs=0.01)
        else:
            short = strongest and reached < target_db
            assert reached == pytest.approx(target_db, abs=0.05) or short
            assert after.true_peak_db is not None
            assert after.true_peak_db <= ceiling_db + 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(160_000, np.float32),
        np.full(1, 0.25, np.float32), np.full(1600, 1e-30, np.float32), _scaled(0.3, 0.1),
    ],
    ids=["nothing", "a zero", "silence", "one sample", "denormal", "0.1 s"],
)  # fmt: skip
def test_never_nan(method: NormalizeMethod, waveform: Waveform) -> None:
    factor, levels = gain(_level(waveform), NormalizeOptions(method=method))
    assert math.isfinite(factor)
    assert 0 < factor <= 10 ** (MAX_GAIN_DB / 20)
    if levels.before.peak_db is None or method in ("auto", "as is", "lufs"):
        assert factor == 1.0
    assert np.isfinite(waveform * np.float32(factor)).all()


@settings(max_examples=30)
@given(peak_db=st.floats(-70, 0))
def test_auto_leaves_a_good_level_alone_and_mends_a_bad_one(peak_db: float) -> None:
    before = _level(_scaled(10 ** (peak_db / 20)))
    factor, levels = gain(before, NormalizeOptions(method="auto"))
    if before.lufs is None or GOOD_LUFS[0] <= before.lufs <= GOOD_LUFS[1]:
        assert factor == 1.0
        assert levels.after == levels.before
    else:
        assert levels.after.lufs is not None
        assert GOOD_LUFS[0] <= levels.after.lufs <= GOOD_LUFS[1] or levels.limited


def test_auto_lowers_what_would_be_clipped() -> None:
    waveform = np.zeros(160_000, np.float32)
    waveform[:] = _scaled(0.2, 10.0)
    waveform[5000] = 1.5
    factor, levels = gain(_level(waveform), NormalizeOptions(method="auto"))
    assert levels.limited
    assert np.abs(waveform * factor).max() < 1.0


def test_a_click_keeps_a_quiet_voice_from_being_lifted_into_clipping() -> None:
    waveform = _scaled(0.01, 10.0)
    waveform[1000] = 0.9
    factor, levels = gain(_level(waveform), NormalizeOptions(method="lufs", target_db=-16))
    assert levels.limited
    assert levels.after.true_peak_db == pytest.approx(-1.0, abs=1e-9)
    assert factor < 1.2


def test_noise_of_the_recorder_is_not_blown_up_without_bound() -> None:
    waveform = np.full(16_000, 1e-7, np.float32)
    factor, _ = gain(_level(waveform), NormalizeOptions(method="rms"))
    assert factor == pytest.approx(1000)


@pytest.mark.parametrize("peak_db", range(-57, 1, 3))
def test_what_auto_will_come_to_is_guessed_from_a_piece_of_speech(peak_db: int) -> None:
    speech = _scaled(10 ** (peak_db / 20))
    lufs = _level(speech).lufs
    assert lufs is not None
    guess = likely_gain(NormalizeOptions(method="auto"), speech)
    if GOOD_LUFS[0] + 2 < lufs < GOOD_LUFS[1] - 2:
        assert guess == gain(_level(speech), NormalizeOptions(method="auto"))[0] == 1.0
    elif lufs < GOOD_LUFS[0] - 2 or lufs > GOOD_LUFS[1] + 2:
        assert guess is None


def test_nothing_is_guessed_where_the_gain_is_known_or_hangs_on_the_whole() -> None:
    speech = _scaled(0.5)
    for method in METHODS:
        options = NormalizeOptions(method=method)
        if method != "auto":
            assert likely_gain(options) == likely_gain(options, speech) == known_gain(options)
    auto = NormalizeOptions(method="auto")
    assert likely_gain(auto) == 1.0
    assert likely_gain(auto, np.zeros(16_000, np.float32)) is None
    assert likely_gain(auto, speech * np.float32(2.5)) is None, "beyond full scale"
