"""Where somebody speaks: blocks of waveform -> spans of speech.

The network is Silero VAD v6, its graph laid out for many frames at a time by
training/voice_network.py. It sees 512 new samples (32 ms) at a time after 64 it has seen before, as
the magnitudes of their spectrum, and carries an LSTM state, so memory does not grow with the
recording. Frames are grouped into batches of fixed size whatever the blocks, so the spans do not
depend on the blocks, bit for bit.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import scipy.fft
from numpy.typing import NDArray

from stenograf.audio.spans import FRAME_SAMPLES, Span, SpanFinder
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import Waveform

_NETWORK = Path(__file__).with_name("silero_vad_v6.onnx")
_CONTEXT_SAMPLES = 64
_BATCH_FRAMES = 256  # 8.2 s
_BATCH_SAMPLES = _BATCH_FRAMES * FRAME_SAMPLES
_STATE_SHAPE = (1, 1, 128)

_SEEN_SAMPLES = _CONTEXT_SAMPLES + FRAME_SAMPLES
_PADDING = 64  # samples, a reflection behind what is seen
_STFT_WINDOW, _STFT_HOP = 256, 128
_STFT_STARTS = range(0, _SEEN_SAMPLES + _PADDING - _STFT_WINDOW + 1, _STFT_HOP)
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_STFT_WINDOW) / _STFT_WINDOW)).astype(np.float32)


class VoiceDetector:
    """Holds the network; build one per process and share it, `spans` may run in many threads."""

    def __init__(self, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The memory arena stays on (the default): with it off, some runs over three hours of sound
        # left a heap of 3 GB behind, for nothing but freed intermediate results.
        self._session = onnxruntime.InferenceSession(
            str(_NETWORK), options, providers=["CPUExecutionProvider"]
        )

    def spans(
        self, blocks: Iterable[Waveform], options: CutOptions, gain: float = 1.0
    ) -> list[Span]:
        """Spans of speech in a recording given as consecutive blocks, each shape (n_samples,).

        `gain` is applied first, since the network hears level. Spans are ordered, do not overlap
        and lie inside the recording; each includes `speech_pad_ms` on both sides where there is
        room.
        """
        counted, finder = Counted(blocks), SpanFinder(options)
        spans: list[Span] = []
        for batch in self.probabilities(counted, gain):
            spans += finder.add(batch)
        return spans + finder.finish(counted.n_samples)

    def stream(self) -> "VoiceStream":
        """A listener for sound that is still coming; each has a memory of its own."""
        return VoiceStream(self._session)

    def probabilities(
        self, blocks: Iterable[Waveform], gain: float = 1.0
    ) -> Iterator[NDArray[np.float32]]:
        """Probability of speech per frame of FRAME_SAMPLES, in batches of shape (n_frames,)."""
        h = c = np.zeros(_STATE_SHAPE, np.float32)
        spectrum = _Spectrum(_BATCH_FRAMES)
        context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        for batch in _batches(blocks):
            frames = batch.reshape(-1, FRAME_SAMPLES)
            seen = spectrum.seen[: len(frames)]
            np.multiply(frames, np.float32(gain), out=seen[:, _CONTEXT_SAMPLES:])
            seen[0, :_CONTEXT_SAMPLES] = context
            seen[1:, :_CONTEXT_SAMPLES] = seen[:-1, -_CONTEXT_SAMPLES:]
            context = seen[-1, -_CONTEXT_SAMPLES:].copy()
            inputs = {**spectrum.magnitudes(len(frames)), "h": h, "c": c}
            speech, h, c = self._session.run(None, inputs)
            yield speech.reshape(-1)


class VoiceStream:
    """Hears one frame after the other, as they come; for one thread at a time."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._h = self._c = np.zeros(_STATE_SHAPE, np.float32)
        self._spectrum = _Spectrum(1)

    def probability(self, frame: Waveform) -> float:
        """Probability of speech in the next frame, shape (FRAME_SAMPLES,)."""
        seen = self._spectrum.seen
        seen[0, _CONTEXT_SAMPLES:] = frame
        inputs = {**self._spectrum.magnitudes(1), "h": self._h, "c": self._c}
        speech, self._h, self._c = self._session.run(None, inputs)
        seen[0, :_CONTEXT_SAMPLES] = frame[-_CONTEXT_SAMPLES:]
        return float(speech.reshape(-1)[0])


class _Spectrum:
    """What the network hears of the frames in `seen`, shape (n_frames, _SEEN_SAMPLES).

    Buffers are made once: large ones that come and go between small ones that stay leave the heap
    full of holes.
    """

    def __init__(self, n_frames: int) -> None:
        self._padded = np.zeros((n_frames, _SEEN_SAMPLES + _PADDING), np.float32)
        self._window = np.empty((n_frames, _STFT_WINDOW), np.float32)
        shape = (len(_STFT_STARTS), n_frames, _STFT_WINDOW // 2 + 1)
        self._magnitudes = np.empty(shape, np.float32)
        self.seen = self._padded[:, :_SEEN_SAMPLES]

    def magnitudes(self, n_frames: int) -> dict[str, NDArray[np.float32]]:
        """Of the first frames: one input of the network per column, shape (n_frames, 129).

        They stay as they are until the next call.
        """
        padded, window = self._padded[:n_frames], self._window[:n_frames]
        padded[:, _SEEN_SAMPLES:] = padded[:, _SEEN_SAMPLES - 2 : -2 * _PADDING - 2 : -1]
        columns = {}
        for index, start in enumerate(_STFT_STARTS):
            np.multiply(padded[:, start : start + _STFT_WINDOW], _HANN, out=window)
            column = self._magnitudes[index, :n_frames]
            np.abs(scipy.fft.rfft(window), out=column)
            columns[f"magnitudes.{index}"] = column
        return columns


class Counted:
    """Blocks that pass through; `n_samples` counts those that have."""

    def __init__(self, blocks: Iterable[Waveform]) -> None:
        self._blocks = blocks
        self.n_samples = 0

    def __iter__(self) -> Iterator[Waveform]:
        for block in self._blocks:
            self.n_samples += len(block)
            yield block


def _batches(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """Regroup blocks into batches of whole frames; silence fills up the last frame."""
    waiting: list[Waveform] = []
    waiting_samples = 0
    for block in blocks:
        waiting.append(block)
        waiting_samples += len(block)
        if waiting_samples >= _BATCH_SAMPLES:
            joined = np.concatenate(waiting) if len(waiting) > 1 else block
            whole = len(joined) - len(joined) % _BATCH_SAMPLES
            yield from joined[:whole].reshape(-1, _BATCH_SAMPLES)
            rest = joined[whole:]
            waiting, waiting_samples = [rest] if len(rest) else [], len(rest)
    if waiting_samples:
        fill = np.zeros(-waiting_samples % FRAME_SAMPLES, np.float32)
        yield np.concatenate((*waiting, fill))
