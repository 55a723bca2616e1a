import time
from collections.abc import Callable

import numpy as np
import pytest

from stenograf.contract.errors import BadOptions, BadRequest, Cancelled
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.engines.fake import FakeEngine

Tone = Callable[..., Waveform]


def test_words_follow_length_and_level(tone: Tone) -> None:
    engine = FakeEngine()
    loud, quiet, longer = engine.transcribe(
        [tone(1.0, 0.5), tone(1.0, 0.1), tone(3.2, 0.5)], EngineOptions()
    )
    assert loud.segments[0].text == " девять девять"
    assert quiet.segments[0].text != loud.segments[0].text
    assert longer.segments[0].text.split() == ["девять"] * 7
    assert longer.segments[-1].end == round(3.2 * SAMPLE_RATE)
    assert engine.transcribe([tone(1.0, 0.5)], EngineOptions()) == [loud]


def test_a_pause_ends_a_segment_and_silence_has_none(tone: Tone) -> None:
    pause = np.zeros(SAMPLE_RATE, np.float32)
    result, silent = FakeEngine().transcribe(
        [np.concatenate([tone(1.0), pause, tone(0.5)]), pause], EngineOptions()
    )
    assert [(s.start, s.end) for s in result.segments] == [(0, 16_000), (32_000, 40_000)]
    assert (silent.segments, silent.no_speech_prob) == ((), 1.0)


def test_the_delay_is_kept_and_cut_short(tone: Tone) -> None:
    engine = FakeEngine(delay_s=0.2)
    started = time.monotonic()
    engine.transcribe([tone(0.5)], EngineOptions())
    assert time.monotonic() - started >= 0.2
    with pytest.raises(Cancelled):
        FakeEngine(delay_s=60).transcribe([tone(0.5)], EngineOptions(), lambda: True)


def test_it_refuses_what_an_engine_refuses(tone: Tone) -> None:
    with pytest.raises(BadOptions):
        FakeEngine().transcribe([tone(1)], EngineOptions(decode=DecodeOptions(language="xx")))
    with pytest.raises(BadRequest):
        FakeEngine().transcribe([tone(31)], EngineOptions())
