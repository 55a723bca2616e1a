import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.errors import DecodeLimitExceeded, UndecodableAudio, UnsupportedFormat
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, wav_bytes
from stenograf.llm.sound import cut, read_waveform

Tone = Callable[..., Waveform]


def encoded(waveform: Waveform, rate: int, format: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def test_the_wire_format_is_read_back_exactly(tone: Tone) -> None:
    sent = tone(1.0)
    read = read_waveform(io.BytesIO(wav_bytes(sent)), 60)
    assert read.dtype == np.float32
    assert np.abs(read - sent).max() <= 0.5 / 32768 + 1e-9


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "FLOAT"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_U8"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("MP3", None),
        ("RF64", "PCM_16"),
    ],
)
def test_formats_rates_and_channels(tone: Tone, format: str, subtype: str | None) -> None:
    seconds, rate = 2.0, 44_100
    time_s = np.arange(round(seconds * rate)) / rate
    left = 0.2 * np.sin(2 * np.pi * 440 * time_s)
    body = encoded(np.stack([left, np.zeros_like(left)], axis=1), rate, format, subtype)
    read = read_waveform(io.BytesIO(body), 60)
    expected = tone(seconds, 0.1)
    assert abs(read.shape[0] - expected.shape[0]) <= 0.1 * SAMPLE_RATE
    inner = slice(SAMPLE_RATE // 2, SAMPLE_RATE)
    assert np.sqrt(np.mean(read[inner] ** 2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)


def test_samples_that_are_not_finite_become_silence() -> None:
    body = encoded(np.array([0.5, np.nan, np.inf, -np.inf, 0.25] * 100), 16_000, "WAV", "FLOAT")
    read = read_waveform(io.BytesIO(body), 60)
    assert np.isfinite(read).all()
    assert read[:5].tolist() == [0.5, 0.0, 0.0, 0.0, 0.25]


def test_a_file_without_samples_is_an_empty_waveform() -> None:
    assert read_waveform(io.BytesIO(wav_bytes(np.zeros(0, np.float32))), 60).shape == (0,)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", UndecodableAudio),
        (b"hello, I am a text", UnsupportedFormat),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", UnsupportedFormat),
        (b"\xff\xf1\x50\x80\x00\x1f\xfc" * 100, UnsupportedFormat),  # AAC, ADTS
        (b"\x1a\x45\xdf\xa3" + bytes(100), UnsupportedFormat),  # WebM
        (b"fLaC" + bytes(200), UndecodableAudio),
        (b"RIFF\x24\x00\x00\x00WAVEjunk", UndecodableAudio),
        (b"ID3" + bytes(200), UndecodableAudio),
    ],
)
def test_what_cannot_be_read_says_so(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_waveform(io.BytesIO(body), 60)


def test_a_header_that_lies_about_the_rate_is_refused() -> None:
    body = bytearray(wav_bytes(np.zeros(100, np.float32)))
    struct.pack_into("<I", body, 24, 2_000_000_000)
    with pytest.raises(UndecodableAudio, match="2000000000 Hz"):
        read_waveform(io.BytesIO(bytes(body)), 60)


def test_a_bomb_stops_at_the_limit() -> None:
    body = encoded(np.zeros(SAMPLE_RATE * 300, np.float32), SAMPLE_RATE, "FLAC")
    assert len(body) < 100_000
    with pytest.raises(DecodeLimitExceeded):
        read_waveform(io.BytesIO(body), 30)


@given(
    seconds=st.floats(0, 200),
    limit_s=st.integers(1, 30),
    seed=st.integers(0, 10),
)
@settings(max_examples=40)
def test_windows_are_the_whole_sound_and_never_too_long(
    seconds: float, limit_s: int, seed: int
) -> None:
    waveform = np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE))
    waveform = waveform.astype(np.float32)
    limit = limit_s * SAMPLE_RATE
    windows = cut(waveform, limit)
    assert all(0 < window.shape[0] <= limit for _, window in windows)
    offsets = [offset for offset, _ in windows]
    ends = [offset + window.shape[0] for offset, window in windows]
    assert offsets == [0, *ends[:-1]][: len(offsets)]
    assert np.array_equal(np.concatenate([w for _, w in windows] or [waveform]), waveform)


def test_a_cut_falls_into_the_pause(tone: Tone) -> None:
    waveform = tone(40.0)
    pause = slice(round(27.3 * SAMPLE_RATE), round(27.5 * SAMPLE_RATE))
    waveform[pause] = 0
    (_, first), (offset, _) = cut(waveform, 30 * SAMPLE_RATE)
    assert pause.start < offset < pause.stop
    assert first.shape[0] == offset
