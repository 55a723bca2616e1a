"""WAV: large packets for plain samples, and what calls itself that but is not."""

import io
import wave
from collections.abc import Callable

import numpy as np
import pytest

from stenograf.audio.decode import Decoded
from stenograf.contract.pcm import Waveform

from .sounds import babble, encode, tone

Decode = Callable[..., tuple[Decoded, Waveform]]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_packets_of_any_size_make_the_same_waveform(decoded: Decode, channels: int) -> None:
    samples = np.stack([babble(11.3, 44_100, seed) for seed in range(channels)], axis=1)
    wav, whole = decoded(encode(samples, 44_100, "wav", "pcm_s16le"))
    _, in_small_packets = decoded(encode(samples, 44_100, "aiff", "pcm_s16be"))
    assert wav.source.codec == "pcm_s16le"
    assert wav.source.channels == channels
    assert np.array_equal(whole, in_small_packets)


@pytest.mark.parametrize("odd_bytes", [0, 1, 3])
def test_a_wav_that_breaks_off_is_read_to_its_end(decoded: Decode, odd_bytes: int) -> None:
    body = encode(babble(9.0, 16_000), 16_000, "wav", "pcm_s16le")
    kept_bytes = len(body) // 2 + odd_bytes
    _, waveform = decoded(body[:kept_bytes])
    _, whole = decoded(body)
    assert 0 <= (kept_bytes - len(waveform) * 2) < 200  # the header
    assert np.array_equal(waveform, whole[: len(waveform)])


def test_another_codec_under_the_name_of_plain_samples_is_found(decoded: Decode) -> None:
    """As discs of surround sound were stored; played as samples it is loud noise."""
    packed = encode(tone(6.0, 48_000, peak=0.25), 48_000, "ac3", "ac3")
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setparams((2, 2, 48_000, 0, "NONE", ""))
            writer.writeframes(packed[: len(packed) // 4 * 4])
        found, waveform = decoded(file.getvalue())
    assert (found.source.container, found.source.codec) == ("wav", "ac3")
    assert 5.9 < len(waveform) / 16_000 < 6.2
    assert np.abs(waveform).max() < 0.3
