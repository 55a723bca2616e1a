"""Any container becomes the same 16 kHz mono waveform, in file time."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.audio.container import open_recordings
from stenograf.audio.decode import Decoded
from stenograf.audio.mix import Mixer
from stenograf.contract.pcm import Waveform

from .sounds import Samples, babble, clicks, encode, float_wav, onsets_s, tone, wav

Decode = Callable[..., tuple[Decoded, Waveform]]

CLICKS_S = (0.5, 1.0, 2.25)


def _error_db(waveform: Waveform, reference: Samples) -> float:
    assert len(waveform) == len(reference)
    error = np.sum((waveform.astype(np.float64) - reference) ** 2)
    return float(10 * np.log10(error / np.sum(reference**2) + 1e-30))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampled_waveform_equals_the_whole_file_float64_reference(
    decoded: Decode, rate: int
) -> None:
    samples = babble(7.3, rate).astype(np.float32).astype(np.float64)
    _, waveform = decoded(float_wav(samples, rate))
    assert _error_db(waveform, soxr.resample(samples, rate, 16_000, quality="HQ")) < -80


def test_sixteen_kilohertz_passes_untouched(decoded: Decode) -> None:
    samples = babble(2).astype(np.float32)
    _, waveform = decoded(float_wav(samples))
    assert np.array_equal(waveform, samples)


@pytest.mark.parametrize(
    ("codec", "tolerance"),
    [
        ("pcm_u8", 1e-2), ("pcm_s16le", 1e-4), ("pcm_s24le", 1e-6), ("pcm_s32le", 1e-6),
        ("pcm_f32le", 1e-9), ("pcm_f64le", 1e-9), ("pcm_alaw", 2e-2), ("pcm_mulaw", 2e-2),
    ],
)  # fmt: skip
def test_every_wav_sample_format(decoded: Decode, codec: str, tolerance: float) -> None:
    samples = babble(1).astype(np.float32)
    _, waveform = decoded(encode(samples, 16_000, "wav", codec))
    assert np.abs(waveform - samples).max() < tolerance


@pytest.mark.parametrize(
    ("container", "codec", "rate", "delay_s"),
    [
        ("flac", "flac", 44_100, 0), ("mp3", "libmp3lame", 44_100, 0),
        ("ogg", "libopus", 48_000, 0),
        ("ipod", "aac", 44_100, 0), ("mp4", "aac", 48_000, 0), ("webm", "libopus", 48_000, 0),
        ("matroska", "flac", 48_000, 0), ("mov", "alac", 44_100, 0), ("wv", "wavpack", 44_100, 0),
        ("tta", "tta", 44_100, 0), ("aiff", "pcm_s16be", 44_100, 0), ("w64", "pcm_s16le", 8_000, 0),
        ("au", "pcm_s16be", 16_000, 0), ("caf", "pcm_s16be", 16_000, 0),
        ("avi", "pcm_s16le", 16_000, 0),
        # These carry no word about their encoder's delay; players are late by it too.
        ("adts", "aac", 44_100, 1024 / 44_100), ("ac3", "ac3", 48_000, 256 / 48_000),
        ("mpegts", "mp2", 48_000, 481 / 48_000),
    ],
)  # fmt: skip
def test_every_container_keeps_time(
    decoded: Decode, container: str, codec: str, rate: int, delay_s: float
) -> None:
    _, waveform = decoded(encode(clicks(3.0, rate, CLICKS_S), rate, container, codec))
    found = onsets_s(waveform)
    assert len(found) == len(CLICKS_S)
    assert np.allclose(np.array(found) - delay_s, CLICKS_S, atol=0.003)
    assert len(waveform) / 16_000 == pytest.approx(3.0, abs=0.09)


def test_a_telephone_codec(decoded: Decode) -> None:
    samples = babble(2, 8_000)
    _, waveform = decoded(encode(samples, 8_000, "amr", "libopencore_amrnb"))
    reference = soxr.resample(samples, 8_000, 16_000)
    lag = np.argmax(np.correlate(waveform, reference[8_000:16_000], "valid")) - 8_000
    assert abs(lag) / 16_000 < 0.015  # the codec's own delay, which no header tells


def test_a_sound_track_that_starts_after_the_picture_gets_silence_in_front(
    decoded: Decode,
) -> None:
    body = encode(
        clicks(1.0, 48_000, (0.25,)), 48_000, "matroska", "flac", start_s=1.5, picture=True
    )
    result, waveform = decoded(body)
    assert onsets_s(waveform) == [pytest.approx(1.75, abs=0.003)]
    assert [w.code for w in result.warnings] == ["gaps_filled"]


def test_a_sound_track_alone_begins_at_its_first_sample(decoded: Decode) -> None:
    body = encode(clicks(1.0, 48_000, (0.25,)), 48_000, "matroska", "flac", start_s=1.5)
    _, waveform = decoded(body)
    assert onsets_s(waveform) == [pytest.approx(0.25, abs=0.003)]


def test_a_hole_in_the_middle_becomes_silence(decoded: Decode) -> None:
    body = encode(
        clicks(2.0, 48_000, (0.25, 1.5)), 48_000, "matroska", "flac", silent_gap_s=(1.0, 6.0)
    )
    result, waveform = decoded(body)
    assert onsets_s(waveform) == [pytest.approx(t, abs=0.01) for t in (0.25, 6.5)]
    assert [w.code for w in result.warnings] == ["gaps_filled"]


def test_mono_is_the_mean_of_the_channels(decoded: Decode) -> None:
    left, right = tone(1, hertz=300), tone(1, hertz=1000)
    _, waveform = decoded(float_wav(np.stack([left, right], axis=1)))
    assert np.abs(waveform - (left + right) / 2).max() < 1e-6


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac"])
def test_six_channels(decoded: Decode, codec: str) -> None:
    samples = np.stack([tone(1, hertz=200 + 100 * k) for k in range(6)], axis=1)
    result, waveform = decoded(encode(samples, 16_000, "matroska", codec))
    assert result.source.channels == 6
    assert np.abs(waveform - samples.mean(axis=1)).max() < 2e-4


def test_a_stream_may_change_its_rate_in_the_middle(decoded: Decode) -> None:
    body = b"".join(
        encode(tone(2, rate), rate, "mp3", "libmp3lame") for rate in (44_100, 16_000, 48_000)
    )
    result, waveform = decoded(body)
    assert len(waveform) / 16_000 == pytest.approx(6.0, abs=0.4)
    assert "format_changed" in [w.code for w in result.warnings]
    middle = waveform[int(2.5 * 16_000) : int(3.5 * 16_000)]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_links_of_a_chained_ogg_file_may_differ(decoded: Decode, codec: str) -> None:
    rates = (48_000, 48_000, 16_000, 24_000)
    body = b"".join(encode(tone(1, rate), rate, "ogg", codec) for rate in rates)
    result, waveform = decoded(body)
    assert len(waveform) == pytest.approx(4 * 16_000, abs=20)
    for second in range(4):
        spectrum = np.abs(np.fft.rfft(waveform[second * 16_000 :][2000:14_000]))
        assert np.argmax(spectrum) * 16_000 / 12_000 == pytest.approx(440, abs=2)
    assert result.source.container == "ogg"


def test_values_that_are_no_numbers_are_silenced_and_counted(decoded: Decode) -> None:
    samples = babble(1).astype(np.float32)
    samples[100:200] = np.nan
    samples[300] = np.inf
    samples[400] = 1e30
    result, waveform = decoded(float_wav(samples))
    assert np.isfinite(waveform).all()
    assert not waveform[[*range(100, 200), 300, 400]].any()
    assert np.array_equal(waveform[500:], samples[500:])
    assert "102 samples" in result.warnings[0].message


def test_the_first_of_several_sound_tracks_is_heard(decoded: Decode) -> None:
    first, second = tone(1, 48_000, 440), tone(1, 48_000, 1000)
    body = encode(first, 48_000, "matroska", "flac", picture=True, second_track=second)
    result, waveform = decoded(body)
    assert result.source.sound_tracks == 2
    assert [w.code for w in result.warnings] == ["other_tracks"]
    assert np.argmax(np.abs(np.fft.rfft(waveform))) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("n_samples", [1, 2, 1600])
def test_a_scrap_of_sound_is_sound(decoded: Decode, n_samples: int) -> None:
    result, waveform = decoded(wav(b"\x00\x40" * n_samples))
    assert len(waveform) == n_samples == result.n_samples
    assert result.level.peak_db == pytest.approx(-6.02, abs=0.01)
    assert result.level.lufs is None


def test_silence_has_no_level(decoded: Decode) -> None:
    result, _ = decoded(wav(bytes(64_000)))
    assert result.level.model_dump() == dict.fromkeys(("peak_db", "true_peak_db", "rms_db", "lufs"))


def test_the_result_survives_json(decoded: Decode) -> None:
    result, _ = decoded(float_wav(babble(1)))
    assert Decoded.model_validate_json(result.model_dump_json()) == result


@settings(max_examples=12)
@given(block_s=st.floats(0.001, 3.0), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_blocks_do_not_show_in_the_waveform(block_s: float, rate: int) -> None:
    body = float_wav(np.stack([babble(1.7, rate), babble(1.7, rate, seed=1)], axis=1), rate)

    def waveform(length_s: float) -> Waveform:
        mixer = Mixer(open_recordings(io.BytesIO(body)), length_s)  # type: ignore[arg-type]
        return np.concatenate(list(mixer.blocks()))

    assert np.array_equal(waveform(block_s), waveform(5.0))
