"""Decoded frames -> blocks of mono float32 at 16 kHz.

Mono is the mean of the channels. Resampling is soxr's HQ stream, which librosa uses for whole
files. Frames are collected into blocks of some seconds first: work per frame is what costs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from stenograf.audio.container import ANOTHER_COPY, NotReadable, Recording
from stenograf.audio.timeline import Timeline
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

BLOCK_S = 5.0
_BLOCK_VALUES = 4_000_000  # many channels: fewer seconds in a block
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz; outside, the header lies
_LARGEST_VALUE = 1e10  # far above any integer scale; its square still fits float32

# FFmpeg's sample formats, planar or not: numpy's dtype and the value of full scale.
_FORMATS: dict[str, tuple[np.dtype[Any], float]] = {
    "u8": (np.dtype("u1"), 2.0**7),
    "s16": (np.dtype("i2"), 2.0**15),
    "s32": (np.dtype("i4"), 2.0**31),
    "s64": (np.dtype("i8"), 2.0**63),
    "flt": (np.dtype("f4"), 1.0),
    "dbl": (np.dtype("f8"), 1.0),
}

_Planes = list[NDArray[Any]]
"""A frame's values: per channel shape (n_samples,), or one of shape (n_samples * channels,)."""


class _Shape(NamedTuple):
    sample_rate: int
    channels: int
    planar: bool
    format: str


@dataclass
class Findings:
    """What was odd on the way; complete when the blocks have ended."""

    damaged_packets: int = 0
    broken_off: int = 0
    bad_values: int = 0
    shape_changes: int = 0
    filled_s: float = 0.0
    jumps: int = 0


class Mixer:
    """Turns recordings that follow one another into blocks."""

    def __init__(self, recordings: Iterable[Recording], block_s: float = BLOCK_S) -> None:
        self._recordings = recordings
        self._block_s = block_s
        self.findings = Findings()

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

    def _runs(self) -> Iterator[tuple[_Shape, int, list[_Planes]]]:
        """Frames of one shape collected to blocks, with the samples of silence before them."""
        frames: list[_Planes] = []
        shape: _Shape | None = None
        silence = samples = limit = 0
        for frame, gap_s in self._placed_frames():
            here = _shape(frame)
            if shape is not None and (here != shape or gap_s or samples >= limit):
                yield shape, silence, frames
                frames, silence, samples = [], 0, 0
            if here != shape:
                self.findings.shape_changes += shape is not None
                shape = here
                limit = min(round(self._block_s * here.sample_rate), _BLOCK_VALUES // here.channels)
            if gap_s:
                silence = round(gap_s * here.sample_rate)
            frames.append(_planes(frame, here))
            samples += frame.samples
        if shape is not None:
            yield shape, silence, frames

    def _placed_frames(self) -> Iterator[tuple[av.AudioFrame, float]]:
        """Frames that hold samples, each with the seconds of silence before it."""
        for recording in self._recordings:
            timeline = Timeline(recording.container.format.name, recording.origin_s)
            for frame in recording.frames():
                if frame.samples and frame.sample_rate > 0:
                    length_s = frame.samples / frame.sample_rate
                    yield frame, timeline.gap_before(frame.time, length_s)
            self.findings.damaged_packets += recording.damaged_packets
            self.findings.broken_off += recording.broken_off
            self.findings.filled_s += timeline.filled_s
            self.findings.jumps += timeline.jumps

    def _finite(self, block: Waveform) -> Waveform:
        if not len(block) or max(float(block.max()), -float(block.min())) <= _LARGEST_VALUE:
            return block
        good = np.abs(block) <= _LARGEST_VALUE  # false for NaN too
        self.findings.bad_values += int(len(block) - np.count_nonzero(good))
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


def _shape(frame: av.AudioFrame) -> _Shape:
    layout, sample_format = frame.layout, frame.format.name
    packed = sample_format.removesuffix("p")
    if not _LOWEST_RATE <= frame.sample_rate <= _HIGHEST_RATE:
        raise NotReadable(
            "undecodable_audio",
            f"The file claims {frame.sample_rate} samples per second, which no recording has.",
            ANOTHER_COPY,
        )
    if packed not in _FORMATS or not layout.nb_channels:
        raise NotReadable(
            "unsupported_format", f"Samples of type {packed} cannot be read.", ANOTHER_COPY
        )
    return _Shape(frame.sample_rate, layout.nb_channels, packed != sample_format, packed)


def _planes(frame: av.AudioFrame, shape: _Shape) -> _Planes:
    dtype, _ = _FORMATS[shape.format]
    planes = frame.planes
    if not shape.planar:
        return [np.frombuffer(planes[0], dtype, frame.samples * shape.channels)]
    # PyAV may list more planes than there are channels when there are more than eight.
    return [np.frombuffer(plane, dtype, frame.samples) for plane in planes[: shape.channels]]


def _mean(shape: _Shape, frames: list[_Planes]) -> Waveform:
    """Mean over channels, integer formats scaled to [-1, 1], float32, shape (n_samples,)."""
    dtype, full_scale = _FORMATS[shape.format]
    joined = [_joined(pieces) for pieces in zip(*frames, strict=True)]
    channels = joined if shape.planar else joined[0].reshape(-1, shape.channels).T
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf are dealt with afterwards
        total: NDArray[Any] = channels[0].astype(np.float64 if dtype.itemsize == 8 else np.float32)
        for channel in channels[1:]:
            total += channel
        if dtype.kind == "u":
            total -= full_scale * shape.channels  # unsigned: silence is in the middle
        total *= 1.0 / (full_scale * shape.channels)
        mono: Waveform = total.astype(np.float32, copy=False)
    return mono


def _joined(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
