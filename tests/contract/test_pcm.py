import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stenograf.contract.pcm import (
    SAMPLE_RATE,
    Waveform,
    from_s16,
    stream_header,
    to_s16,
    wav_bytes,
)

waveforms = hnp.arrays(
    np.float32, st.integers(0, 400), elements=st.floats(-1, 1, width=32, allow_nan=False)
)


@given(waveforms)
def test_s16_keeps_every_sample_within_half_a_step(waveform: Waveform) -> None:
    back = from_s16(to_s16(waveform))
    assert back.dtype == np.float32
    # Above the last s16 value nothing is left to round to: it clips, up to one step down.
    steps = np.where(waveform > 32767.5 / 32768, 1, 0.5)
    assert (np.abs(back - waveform) <= steps / 32768 * (1 + 1e-6)).all()


@given(st.binary(max_size=999).filter(lambda body: len(body) % 2 == 0))
def test_s16_bytes_survive_the_way_through_float(body: bytes) -> None:
    assert to_s16(from_s16(body)) == body


def test_beyond_full_scale_clips_and_an_odd_byte_is_dropped() -> None:
    assert np.frombuffer(to_s16(np.array([2, -2], np.float32)), "<i2").tolist() == [32767, -32768]
    assert from_s16(b"\x00\x40\x01").tolist() == [0.5]


@pytest.mark.parametrize("n_samples", [0, 1, 16_000])
def test_wav_is_read_by_libsndfile(n_samples: int) -> None:
    waveform = np.sin(np.arange(n_samples) / 7).astype(np.float32)
    read, rate = soundfile.read(io.BytesIO(wav_bytes(waveform)), dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_array_equal(read, from_s16(to_s16(waveform)))


def test_the_header_of_a_stream_lets_all_that_follows_be_read() -> None:
    waveform = np.sin(np.arange(16_000) / 7).astype(np.float32)
    body = stream_header() + to_s16(waveform)
    read, rate = soundfile.read(io.BytesIO(body), dtype="float32")
    assert (rate, len(read)) == (SAMPLE_RATE, len(waveform))
    assert body[44:] == wav_bytes(waveform)[44:]
