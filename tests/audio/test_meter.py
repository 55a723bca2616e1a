"""The streaming meter against whole-file float64 references."""

import math

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stenograf.audio.measurement import Measurement
from stenograf.audio.meter import Meter

from .sounds import babble, tone

Float32 = NDArray[np.float32]


def _measure(waveform: Float32, cuts: list[int] | None = None) -> Measurement:
    meter = Meter()
    for block in np.split(waveform, sorted(cuts or [])):
        meter.add(block)
    return meter.measurement


@st.composite
def waveforms(draw: st.DrawFn) -> Float32:
    """Speech-like sound with stretches of other levels, 0 to 12 s."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seconds = draw(st.floats(0, 12))
    samples = babble(seconds, seed=int(rng.integers(99)))
    steps = 10 ** (rng.uniform(-60, 6, 1 + int(seconds)) / 20)
    levels = np.repeat(steps, 16_000)[: len(samples)]
    return (samples * levels + draw(st.sampled_from([0.0, 0.1]))).astype(np.float32)


@settings(max_examples=25)
@given(waveform=waveforms(), data=st.data())
def test_blocks_do_not_show_in_the_measurement(waveform: Float32, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(waveform)), max_size=8))
    assert _measure(waveform, cuts) == _measure(waveform)


@settings(max_examples=25)
@given(waveform=waveforms())
def test_peak_and_rms_equal_the_reference(waveform: Float32) -> None:
    found = _measure(waveform)
    exact = waveform.astype(np.float64)
    assert found.peak == (np.abs(exact).max() if len(exact) else 0.0)
    rms = math.sqrt(np.mean(exact**2)) if len(exact) else 0.0
    assert found.rms == pytest.approx(rms, rel=1e-4, abs=1e-12)


@settings(max_examples=25)
@given(waveform=waveforms())
def test_loudness_equals_pyloudnorm(waveform: Float32) -> None:
    found = _measure(waveform).lufs
    if len(waveform) < 0.4 * 16_000:
        assert found is None
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        reference = pyloudnorm.Meter(16_000).integrated_loudness(waveform.astype(np.float64))
    if math.isfinite(reference):
        assert found == pytest.approx(reference, abs=0.05)
    else:
        assert found is None


def test_a_full_scale_sine_has_the_loudness_of_the_standard() -> None:
    # BS.1770: a 0 dBFS sine of 997 Hz in one channel reads -3.01 LUFS.
    found = _measure(tone(20, hertz=997, peak=1.0).astype(np.float32))
    assert found.lufs == pytest.approx(-3.01, abs=0.1)
    assert found.rms == pytest.approx(math.sqrt(0.5), rel=1e-4)


def test_loudness_ignores_pauses() -> None:
    speech = babble(10).astype(np.float32)
    pause = np.zeros(10 * 16_000, np.float32)
    alone, with_pause = _measure(speech).lufs, _measure(np.concatenate((speech, pause))).lufs
    assert with_pause == pytest.approx(alone, abs=0.1)


@settings(max_examples=25)
@given(waveform=waveforms())
def test_true_peak_is_that_of_the_interpolated_signal(waveform: Float32) -> None:
    found = _measure(waveform).true_peak
    exact = np.concatenate((waveform.astype(np.float64), np.zeros(16)))
    interpolator = np.zeros(48)
    for phase, taps in enumerate(_annex_2()):
        interpolator[phase::4] = taps
    interpolated = scipy.signal.upfirdn(interpolator, exact, up=4)
    assert found == pytest.approx(max(np.abs(interpolated).max(), np.abs(exact).max()), rel=1e-5)


def _annex_2() -> list[list[float]]:
    """BS.1770-4 annex 2, in units of 2^-14, as the table prints the first two phases."""
    first = [28, 180, -322, 544, -974, 2250, 15928, -1676, 780, -436, 244, -136]
    second = [-478, 480, -848, 1460, -2728, 7620, 12776, -3282, 1664, -954, 542, -310]
    table = [first, second, second[::-1], first[::-1]]
    return [[tap / 2**14 for tap in taps] for taps in table]


def test_true_peak_finds_what_lies_between_samples() -> None:
    # A sine at a quarter of the rate whose samples all miss its crest.
    samples = np.sin(2 * np.pi * 4000 * np.arange(16_000) / 16_000 + np.pi / 4) * 0.9
    samples *= scipy.signal.windows.tukey(len(samples))
    found = _measure(samples.astype(np.float32))
    assert found.peak == pytest.approx(0.9 * math.sqrt(0.5), rel=1e-3)
    assert found.true_peak == pytest.approx(0.9, rel=0.02)


@pytest.mark.parametrize("n_samples", [0, 1, 1600, 16_000])
def test_silence_measures_nothing(n_samples: int) -> None:
    assert _measure(np.zeros(n_samples, np.float32)) == Measurement(0.0, 0.0, 0.0, None)


def test_one_sample() -> None:
    found = _measure(np.array([0.5], np.float32))
    assert (found.peak, found.rms, found.lufs) == (0.5, 0.5, None)


def test_very_quiet_and_very_loud_stay_finite() -> None:
    for scale in (1e-30, 1e9):
        found = _measure((babble(2) * scale).astype(np.float32))
        assert all(value is None or math.isfinite(value) for value in found)


def test_measuring_does_not_disturb_the_meter() -> None:
    waveform = babble(5).astype(np.float32)
    meter = Meter()
    for block in np.array_split(waveform, 7):
        meter.add(block)
        assert meter.measurement.peak > 0
    assert meter.measurement == _measure(waveform)
