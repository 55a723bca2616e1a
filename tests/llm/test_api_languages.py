"""A choice of languages narrows detection down."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.engines.hf_whisper import HfWhisper


def test_only_what_is_named_is_detected(
    tiny_old: Path, load_engine: Callable[[Path], HfWhisper], tone: Callable[..., Waveform]
) -> None:
    engine = load_engine(tiny_old)

    def heard(*languages: str) -> tuple[str, float]:
        decode = DecodeOptions(language="auto", languages=languages, word_timestamps=False)
        (result,) = engine.transcribe([tone(1.0)], EngineOptions(decode=decode))
        assert result.language_probability is not None
        return result.language, result.language_probability

    free, _ = heard()
    others = [code for code in ("fi", "ka", "ru") if code != free][:2]
    language, probability = heard(*others)
    assert language in others
    assert 0.5 <= probability <= 1.0, "the better one of two"
    assert heard(free, *others)[0] == free
    with pytest.raises(BadOptions, match="knows none of"):
        heard("yue")
    engine.close()
