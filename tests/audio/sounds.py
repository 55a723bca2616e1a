"""Recordings made by arithmetic and files made of them, for tests of the signal path."""

import io
import struct
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


def babble(seconds: float, rate: int = 16_000, seed: int = 0) -> Samples:
    """Something with the spectrum and the rhythm of speech, peak about 0.5, shape (n_samples,)."""
    random = np.random.default_rng(seed)
    n_samples = round(seconds * rate)
    time_s = np.arange(n_samples) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    voice = sum(np.sin(k * 2 * np.pi * np.cumsum(pitch) / rate) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3.3 * time_s) + 0.4, 0, 1)
    noise = random.normal(0, 0.02, n_samples)
    return 0.2 * np.asarray(voice) * syllables + noise


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0, peak: float = 0.3) -> Samples:
    """A sine, shape (n_samples,)."""
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def clicks(seconds: float, rate: int, at_s: tuple[float, ...]) -> Samples:
    """Silence with a 2 ms burst of 2 kHz starting at each time, shape (n_samples,)."""
    samples = np.zeros(round(seconds * rate))
    for start_s in at_s:
        start = round(start_s * rate)
        samples[start : start + rate // 500] = tone(0.002, rate, 2000.0, 0.8)
    return samples


def onsets_s(waveform: NDArray[Any], rate: int = 16_000, threshold: float = 0.1) -> list[float]:
    """Times at which the waveform becomes loud after 50 ms of quiet."""
    loud = np.flatnonzero(np.abs(waveform) > threshold)
    starts = [i for k, i in enumerate(loud) if k == 0 or i - loud[k - 1] > rate // 20]
    return [float(start) / rate for start in starts]


def encode(
    samples: NDArray[Any],
    rate: int,
    container: str,
    codec: str,
    *,
    start_s: float = 0.0,
    picture: bool = False,
    silent_gap_s: tuple[float, float] | None = None,
    second_track: NDArray[Any] | None = None,
) -> bytes:
    """A file of `samples`, shape (n_samples,) or (n_samples, channels).

    `start_s` shifts the sound's timestamps, `picture` adds a small video track that starts at 0,
    `silent_gap_s` moves everything from its first time on to its second (nothing in between).
    """
    buffer = io.BytesIO()
    tracks = [samples] if second_track is None else [samples, second_track]
    with av.open(buffer, "w", format=container) as file:
        video = _picture_track(file) if picture else None
        streams = [file.add_stream(codec, rate=rate, layout=_layout(track)) for track in tracks]
        if video is not None:
            _write_pictures(file, video)
        for stream, track in zip(streams, tracks, strict=True):
            _write_sound(file, stream, track, rate, start_s, silent_gap_s)
    return buffer.getvalue()


def _layout(samples: NDArray[Any]) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}[samples.reshape(len(samples), -1).shape[1]]


def _write_sound(
    file: Any,
    stream: Any,
    samples: NDArray[Any],
    rate: int,
    start_s: float,
    silent_gap_s: tuple[float, float] | None,
) -> None:
    layout = _layout(samples)
    stream.codec_context.open(strict=False)
    resampler = av.AudioResampler(
        format=stream.codec_context.format,
        layout=layout,
        rate=rate,
        frame_size=int(stream.codec_context.frame_size or 1024),
    )
    interleaved = np.ascontiguousarray(samples.astype(np.float32)).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)
    frame.sample_rate = rate
    position = 0
    for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
        if piece is not None:
            at_s = position / rate
            if silent_gap_s and at_s >= silent_gap_s[0]:
                at_s += silent_gap_s[1] - silent_gap_s[0]
            piece.pts = round((start_s + at_s) * rate)
            position += piece.samples
        for packet in stream.encode(piece):
            file.mux(packet)


def _picture_track(file: Any) -> Any:
    video = file.add_stream("mpeg4", rate=10)
    video.width = video.height = 32
    video.pix_fmt = "yuv420p"
    return video


def _write_pictures(file: Any, video: Any) -> None:
    for index in range(10):
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        picture.pts = index
        for packet in video.encode(picture):
            file.mux(packet)
    for packet in video.encode(None):
        file.mux(packet)


def wav(
    body: bytes,
    *,
    code: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    block_bytes: int | None = None,
    riff_bytes: int | None = None,
    data_bytes: int | None = None,
    fmt_bytes: int = 16,
) -> bytes:
    """A RIFF file whose header says exactly what it is told, true or not."""
    block = channels * bits // 8 if block_bytes is None else block_bytes
    fmt = struct.pack(
        "<HHIIHH", code, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    claimed = len(body) if data_bytes is None else data_bytes
    total = 36 + len(body) if riff_bytes is None else riff_bytes
    return b"".join(
        (
            b"RIFF", struct.pack("<I", total), b"WAVEfmt ", struct.pack("<I", fmt_bytes), fmt,
            b"data", struct.pack("<I", claimed), body,
        )
    )  # fmt: skip


def float_wav(samples: NDArray[Any], rate: int = 16_000) -> bytes:
    """A 32-bit float WAV, which stores samples exactly, shape (n_samples,) or (n, channels)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    body = samples.astype("<f4").tobytes()
    return wav(body, code=3, channels=channels, rate=rate, bits=32)
