"""Decoded frames -> blocks of mono float32 at 16 kHz.

Mono is the mean of the channels. Resampling is soxr's HQ stream, which librosa uses for whole
files. Frames are collected into blocks of some seconds first: work per frame is what costs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from stenograf.audio.container import NotReadable, Recording
from stenograf.audio.timeline import Timeline
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

_BLOCK_S = 5
_BLOCK_VALUES = 4_000_000  # many channels: fewer seconds in a block
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz; outside, the header lies
_LARGEST_VALUE = 1e10  # far above any integer scale; its square still fits float32

_FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31}


class _Shape(NamedTuple):
    sample_rate: int
    channels: int
    planar: bool
    dtype: np.dtype[Any]


class Mixer:
    """Turns a recording into blocks; the counters are complete when `blocks` has ended."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.timeline = Timeline(recording.container.format.name, recording.origin_s)
        self.bad_values = 0
        self.shape_changes = -1

    def blocks(self) -> Iterator[Waveform]:
        """Blocks of float32, shape (n_samples,), finite, 16 kHz mono, some seconds each."""
        resampler: _Resampler | None = None
        for shape, silence, frames in self._runs():
            if resampler is None or resampler.sample_rate != shape.sample_rate:
                if resampler is not None:
                    yield resampler.flush()
                resampler = _Resampler(shape.sample_rate)
            for start in range(0, silence, _BLOCK_VALUES):
                yield resampler.add(np.zeros(min(_BLOCK_VALUES, silence - start), np.float32))
            yield resampler.add(self._finite(_mean(shape, frames)))
        if resampler is not None:
            yield resampler.flush()

    def _runs(self) -> Iterator[tuple[_Shape, int, list[NDArray[Any]]]]:
        """Frames of one shape collected to blocks, with the samples of silence before them."""
        frames: list[NDArray[Any]] = []
        shape: _Shape | None = None
        silence = values = 0
        for frame in self._recording.frames():
            if not frame.samples:
                continue
            samples = _samples(frame)
            here = _Shape(
                frame.sample_rate, len(frame.layout.channels), frame.format.is_planar, samples.dtype
            )
            length_s = frame.samples / _checked(here).sample_rate
            gap_s = self.timeline.gap_before(frame.time, length_s)
            limit = min(_BLOCK_VALUES, _BLOCK_S * here.sample_rate * here.channels)
            if frames and shape is not None and (here != shape or gap_s or values >= limit):
                yield shape, silence, frames
                frames, silence, values = [], 0, 0
            if here != shape:
                shape = here
                self.shape_changes += 1
            silence = silence if frames else round(gap_s * here.sample_rate)
            frames.append(samples)
            values += samples.size
        if shape is not None and frames:
            yield shape, silence, frames

    def _finite(self, block: Waveform) -> Waveform:
        if not len(block) or max(float(block.max()), -float(block.min())) <= _LARGEST_VALUE:
            return block
        good = np.abs(block) <= _LARGEST_VALUE  # false for NaN too
        self.bad_values += int(len(block) - np.count_nonzero(good))
        return np.where(good, block, np.float32(0))


class _Resampler:
    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._stream = (
            None
            if sample_rate == SAMPLE_RATE
            else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        )

    def add(self, block: Waveform) -> Waveform:
        if self._stream is None:
            return block
        resampled: Waveform = self._stream.resample_chunk(block)
        return resampled

    def flush(self) -> Waveform:
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest: Waveform = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return rest


def _checked(shape: _Shape) -> _Shape:
    if not _LOWEST_RATE <= shape.sample_rate <= _HIGHEST_RATE:
        raise NotReadable(
            "undecodable_audio",
            f"The file claims {shape.sample_rate} samples per second, which no recording has.",
        )
    return shape


def _samples(frame: av.AudioFrame) -> NDArray[Any]:
    """The frame's values: shape (channels, n) if planar, (1, n * channels) if interleaved."""
    samples: NDArray[Any] = frame.to_ndarray()
    return samples


def _mean(shape: _Shape, frames: list[NDArray[Any]]) -> Waveform:
    """Mean over channels in [-1, 1] for integer formats, float32, shape (n_samples,)."""
    values = np.concatenate(frames, axis=1)
    channels = values if shape.planar else values.reshape(-1, shape.channels).T
    kind = np.float64 if shape.dtype == np.float64 else np.float32
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf are dealt with afterwards
        total = channels[0].astype(kind)
        for channel in channels[1:]:
            total += channel
        scale = _FULL_SCALE.get(shape.dtype.str[1:], 1.0)
        if shape.dtype == np.uint8:
            total -= scale * shape.channels  # unsigned: silence is in the middle
        total *= 1.0 / (scale * shape.channels)
        mono: Waveform = total.astype(np.float32, copy=False)
        return mono
