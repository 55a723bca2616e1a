"""A streaming level meter: sample peak, true peak, RMS and integrated loudness in one pass.

Blocks of any size go in; inside, the sound is regrouped into frames of fixed length, so the
figures do not depend on the blocks, bit for bit.

Loudness follows ITU-R BS.1770-4 with the filters and the block rule of pyloudnorm (two biquads from
the RBJ audio EQ cookbook, within 0.05 dB of the table in the recommendation), which is the
reference it is tested against. The recursive filters are applied as one finite response by FFT;
what is cut off its end lies below 1e-12.
"""

import math
from array import array
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stenograf.audio.measurement import Measurement
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

HOP_SAMPLES = SAMPLE_RATE // 10  # 100 ms: the step of BS.1770's 400 ms blocks
_HOPS_PER_BLOCK = 4
_PIECE_HOPS = 19
_PIECE_SAMPLES = _PIECE_HOPS * HOP_SAMPLES
_PIECES = 4  # transformed at once, as many as scipy puts into one vector of the processor
_FRAME_SAMPLES = _PIECES * _PIECE_SAMPLES  # 121600 samples, 7.6 s
_FFT_SAMPLES = 32_768  # larger ones fall out of the cache
_RESPONSE_SAMPLES = _FFT_SAMPLES - _PIECE_SAMPLES + 1  # so that nothing wraps around

_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_OFFSET_LUFS = -0.691

_HALF_OVERSAMPLER = (
    (0.001708984375, 0.010986328125, -0.0196533203125, 0.033203125, -0.0594482421875,
     0.1373291015625, 0.97216796875, -0.102294921875, 0.047607421875, -0.026611328125,
     0.014892578125, -0.00830078125),
    (-0.0291748046875, 0.029296875, -0.0517578125, 0.089111328125, -0.16650390625,
     0.465087890625, 0.77978515625, -0.2003173828125, 0.1015625, -0.0582275390625,
     0.0330810546875, -0.0189208984375),
)  # fmt: skip
# BS.1770-4 annex 2, phases 0 and 1 of the 48-tap interpolator; 2 and 3 are their mirror images.
_PHASES = np.array([*_HALF_OVERSAMPLER, *(p[::-1] for p in _HALF_OVERSAMPLER[::-1])])
_TAPS = _PHASES.shape[1]
_LARGEST_RISE = float(np.abs(_PHASES).sum(axis=1).max()) * 1.0001  # with room for rounding
_GROUP = 16  # samples oversampled together; a power of two


class _State(NamedTuple):
    peak: float
    true_peak: float
    square_sum: float
    ringing: Waveform  # what the filters still owe from before, shape (_RESPONSE_SAMPLES - 1,)
    past: Waveform  # the last group, shape (_GROUP,)


class Meter:
    """Feed it blocks, ask for `measurement` at any moment."""

    def __init__(self) -> None:
        self._response = np.fft.rfft(_k_weighting(), _FFT_SAMPLES).astype(np.complex64)
        self._oversampler = _oversampling_matrix()
        self._frame = np.zeros(_FRAME_SAMPLES, np.float32)
        self._filled = 0
        self._n_samples = 0
        self._energies = array("d")
        self._state = _State(
            0.0, 0.0, 0.0, np.zeros(_RESPONSE_SAMPLES - 1, np.float32), np.zeros(_GROUP, np.float32)
        )

    def add(self, block: Waveform) -> None:
        """Take in a block, float32, shape (n_samples,), finite."""
        done = 0
        while done < len(block):
            room = min(_FRAME_SAMPLES - self._filled, len(block) - done)
            self._frame[self._filled : self._filled + room] = block[done : done + room]
            self._filled += room
            done += room
            if self._filled == _FRAME_SAMPLES:
                self._state, energies = self._advance(self._state, self._frame, _FRAME_SAMPLES)
                self._energies.extend(energies)
                self._filled = 0
        self._n_samples += len(block)

    @property
    def measurement(self) -> Measurement:
        """Level of everything added so far; more may be added afterwards."""
        last = np.zeros(_FRAME_SAMPLES, np.float32)
        last[: self._filled] = self._frame[: self._filled]
        state, energies = self._advance(self._state, last, self._filled)
        return Measurement(
            peak=state.peak,
            # The interpolator rings on after the last sample: look at a group of silence too.
            true_peak=self._true_peak(state, np.zeros(_GROUP, np.float32)),
            rms=math.sqrt(state.square_sum / max(1, self._n_samples)),
            lufs=integrated_loudness(
                np.array(self._energies + array("d", energies)), self._n_samples
            ),
        )

    def _advance(
        self, state: _State, frame: Waveform, n_samples: int
    ) -> tuple[_State, list[float]]:
        peak = max(state.peak, float(frame.max()), -float(frame.min()))
        hops = frame.reshape(-1, HOP_SAMPLES)
        squares = np.einsum("ij,ij->i", hops, hops).astype(np.float64)
        energies, ringing = self._weighted_energies(state, frame, n_samples)
        # An interpolated peak cannot lie under the sample peak: nothing below it is looked at.
        sought = state._replace(true_peak=max(state.true_peak, peak))
        after = _State(
            peak=peak,
            true_peak=self._true_peak(sought, frame),
            square_sum=state.square_sum + float(squares.sum()),
            ringing=ringing,
            past=frame[-_GROUP:].copy(),
        )
        return after, energies

    def _weighted_energies(
        self, state: _State, frame: Waveform, n_samples: int
    ) -> tuple[list[float], Waveform]:
        """Sum of squares of every K-weighted hop, and what rings on after the frame."""
        pieces = frame.reshape(_PIECES, _PIECE_SAMPLES)
        spectra = scipy.fft.rfft(pieces, _FFT_SAMPLES)
        spectra *= self._response
        weighted: NDArray[np.float32] = scipy.fft.irfft(spectra, overwrite_x=True)
        ringing = state.ringing
        for piece in weighted:
            piece[: len(ringing)] += ringing
            ringing = piece[_PIECE_SAMPLES:]
        hops = weighted[:, :_PIECE_SAMPLES].reshape(-1, HOP_SAMPLES)
        # What rings on after the recording is not part of it.
        last, inside = divmod(n_samples, HOP_SAMPLES)
        hops[last : last + 1, inside:] = 0
        hops[last + 1 :] = 0
        return np.einsum("ij,ij->i", hops, hops).tolist(), ringing.copy()

    def _true_peak(self, state: _State, frame: Waveform) -> float:
        samples = np.concatenate((state.past, frame))
        largest = np.abs(samples)
        while len(largest) * _GROUP > len(samples):
            largest = np.maximum(largest[0::2], largest[1::2])
        near = np.maximum(largest[1:], largest[:-1])
        # Interpolation lifts nothing by more than the sum of its taps, so quiet groups are skipped.
        loud = np.flatnonzero(near * _LARGEST_RISE > state.true_peak)
        if not len(loud):
            return state.true_peak
        groups = samples.reshape(-1, _GROUP)
        inputs = np.concatenate((groups[loud], groups[loud + 1]), axis=1)
        return max(state.true_peak, float(np.abs(inputs @ self._oversampler).max()))


def integrated_loudness(hop_energies: NDArray[np.float64], n_samples: int) -> float | None:
    """Integrated loudness, LUFS, from K-weighted energies (sums of squares), shape (n_hops,).

    None under 0.4 s and where everything lies below the absolute gate.
    """
    hop_count = n_samples / HOP_SAMPLES
    if hop_count < _HOPS_PER_BLOCK:
        return None
    block_count = round(hop_count - _HOPS_PER_BLOCK) + 1
    sums = np.concatenate(([0.0], np.cumsum(hop_energies)))
    ends = np.minimum(np.arange(block_count) + _HOPS_PER_BLOCK, len(hop_energies))
    blocks = (sums[ends] - sums[:block_count]) / (_HOPS_PER_BLOCK * HOP_SAMPLES)
    audible = blocks[blocks >= _energy(_ABSOLUTE_GATE_LUFS)]
    if not len(audible):
        return None
    gate = float(audible.mean()) * 10 ** (_RELATIVE_GATE_LU / 10)
    return _OFFSET_LUFS + 10 * math.log10(float(audible[audible > gate].mean()))


def _energy(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LUFS) / 10))


def _k_weighting() -> NDArray[np.float64]:
    """Impulse response of both K-weighting filters, shape (_RESPONSE_SAMPLES,)."""
    grid = np.exp(-2j * np.pi * np.arange(_FFT_SAMPLES // 2 + 1) / _FFT_SAMPLES)
    gain = _biquad(grid, *_high_shelf(gain_db=4.0, corner_hz=1500.0, q=1 / math.sqrt(2)))
    gain = gain * _biquad(grid, *_high_pass(corner_hz=38.0, q=0.5))
    return np.fft.irfft(gain, _FFT_SAMPLES)[:_RESPONSE_SAMPLES]


_Coefficients = tuple[float, float, float]


def _biquad(
    grid: NDArray[np.complex128], b: _Coefficients, a: _Coefficients
) -> NDArray[np.complex128]:
    response: NDArray[np.complex128] = np.polyval(b[::-1], grid) / np.polyval(a[::-1], grid)
    return response


def _high_shelf(gain_db: float, corner_hz: float, q: float) -> tuple[_Coefficients, _Coefficients]:
    root = 10 ** (gain_db / 40)
    turn = 2 * math.pi * corner_hz / SAMPLE_RATE
    cosine, slope = math.cos(turn), 2 * math.sqrt(root) * math.sin(turn) / (2 * q)
    up, down = root + 1, root - 1
    b = (
        root * (up + down * cosine + slope),
        -2 * root * (down + up * cosine),
        root * (up + down * cosine - slope),
    )
    a = (up - down * cosine + slope, 2 * (down - up * cosine), up - down * cosine - slope)
    return b, a


def _high_pass(corner_hz: float, q: float) -> tuple[_Coefficients, _Coefficients]:
    turn = 2 * math.pi * corner_hz / SAMPLE_RATE
    cosine, slope = math.cos(turn), math.sin(turn) / (2 * q)
    b = ((1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2)
    return b, (1 + slope, -2 * cosine, 1 - slope)


def _oversampling_matrix() -> NDArray[np.float32]:
    """Maps two neighbouring groups, shape (2 * _GROUP,), to the second one at four times the rate,
    shape (4 * _GROUP,)."""
    matrix = np.zeros((2 * _GROUP, len(_PHASES), _GROUP))
    for output in range(_GROUP):
        newest = _GROUP + output
        matrix[newest - _TAPS + 1 : newest + 1, :, output] = _PHASES[:, ::-1].T
    return matrix.reshape(2 * _GROUP, -1).astype(np.float32)
