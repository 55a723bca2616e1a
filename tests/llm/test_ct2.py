"""CTranslate2 as an engine: conversion, loading, stopping, beams, languages, words."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from tests.llm.engine_settings import engine_settings
from tests.llm.recordings import windows
from tests.servers import EMBEDDED_MODEL
from tests.waiting import all_at_once

from stenograf.contract.errors import BadOptions, Cancelled, StenografError
from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.base import Engine, EngineOptions, EngineUnfit, never
from stenograf.llm.engines.ctranslate2 import Ct2Whisper, choose_compute_type, load_ct2_whisper
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.hf_whisper import load_hf_whisper
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.convert import converted
from stenograf.llm.whisper.ladder import Rung
from stenograf.llm.whisper.loading import load_heads, load_vocabulary

Load = Callable[..., Ct2Whisper]
ANYTHING = GuardOptions(logprob_threshold=-1000, compression_ratio_threshold=1000)


def ask(**decode: Any) -> EngineOptions:
    return EngineOptions(decode=DecodeOptions(**decode), guard=ANYTHING)


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ct2")


@pytest.fixture(scope="session")
def base(data_dir: Path) -> EngineSettings:
    return engine_settings("ctranslate2", EMBEDDED_MODEL, data_dir)


@pytest.fixture(scope="session")
def engine(base: EngineSettings) -> Ct2Whisper:
    return load_ct2_whisper(base, quiet)


@pytest.fixture(scope="session")
def old_engine(base: EngineSettings, old_checkpoint: Callable[..., Path]) -> Ct2Whisper:
    """A multilingual checkpoint of 2022 with random weights that depend on the sound."""
    folder = old_checkpoint(confident=True)
    return load_ct2_whisper(replace(base, model=str(folder), compute_type="float32"), quiet)


def test_the_model_service_needs_no_pytorch_for_it(base: EngineSettings, engine: Engine) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from stenograf.llm.engines.factory import EngineSettings, engine_factory\n"
        "from stenograf.llm.engines.base import EngineOptions\n"
        f"settings = EngineSettings('ctranslate2', {base.model!r}, 'auto', 'cpu', 1, "
        f"Path({str(base.data_dir)!r}), Path({str(base.hf_home)!r}))\n"
        "engine = engine_factory(settings)(lambda *_: None)\n"
        "noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype('float32')\n"
        "engine.transcribe([noise], EngineOptions())\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=150, check=True
    )
    assert done.stdout.strip() == "[]"


def test_it_says_what_it_is(engine: Ct2Whisper) -> None:
    known = engine.capabilities
    assert (known.engine, known.device, known.embedded) == ("ctranslate2", "cpu", True)
    assert known.dtype == "float32"  # so narrow a model is not rounded unless that is asked for
    assert known.languages == ("ru",)


@pytest.mark.parametrize("compute_type", ["int8", "int8_float32", "float32"])
def test_every_number_format_of_a_cpu(base: EngineSettings, compute_type: str) -> None:
    engine = load_ct2_whisper(replace(base, compute_type=compute_type), quiet)
    assert engine.capabilities.dtype in (compute_type, "int8_float32")
    (result,) = engine.transcribe([windows()[0]], ask(language="ru"))
    assert "счёте" in "".join(segment.text for segment in result.segments)


def test_int8_is_the_choice_for_wide_models_on_a_cpu() -> None:
    assert choose_compute_type("auto", "cpu", 384) == "int8"
    assert choose_compute_type("auto", "cpu", 192) == "float32"


def test_a_format_that_the_device_lacks_is_refused(base: EngineSettings) -> None:
    with pytest.raises(StenografError, match="float16"):
        load_ct2_whisper(replace(base, compute_type="float16"), quiet)


def test_a_gpu_that_is_not_there_is_explained(base: EngineSettings) -> None:
    if ctranslate2.get_cuda_device_count() > 7:
        pytest.skip("this machine has it")
    with pytest.raises(StenografError, match="DEVICE is cuda:7"):
        load_ct2_whisper(replace(base, device="cuda:7"), quiet)


class TestConversion:
    def convert(self, folder: Path, parent: Path) -> Path:
        checkpoint = open_checkpoint(folder, parent)
        vocabulary = load_vocabulary(checkpoint)
        return converted(checkpoint, vocabulary, load_heads(checkpoint, vocabulary), "int8", parent)

    def test_happens_once_and_again_when_the_source_changes(self, tmp_path: Path) -> None:
        source = shutil.copytree(EMBEDDED_MODEL, tmp_path / "model")
        first = self.convert(source, tmp_path / "data")
        stamp = (first / "model.bin").stat().st_mtime_ns
        assert self.convert(source, tmp_path / "data") == first
        assert (first / "model.bin").stat().st_mtime_ns == stamp
        notes = json.loads((source / "generation_config.json").read_text())
        (source / "generation_config.json").write_text(json.dumps(notes | {"suppress_tokens": [5]}))
        second = self.convert(source, tmp_path / "data")
        assert second != first and not first.exists()
        assert json.loads((second / "config.json").read_text())["suppress_ids"] == [5]

    def test_two_at_once_make_one(self, tmp_path: Path) -> None:
        made = all_at_once(3, lambda _: self.convert(EMBEDDED_MODEL, tmp_path))
        assert len(set(made)) == 1
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [made[0]]

    def test_what_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        source = shutil.copytree(EMBEDDED_MODEL, tmp_path / "model")
        weights = source / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        with pytest.raises(StenografError, match="outside the file"):
            self.convert(source, tmp_path / "data")
        assert [path for path in (tmp_path / "data").iterdir() if path.is_dir()] == []

    def test_a_converted_folder_is_a_model(
        self, base: EngineSettings, engine: Ct2Whisper, tmp_path: Path
    ) -> None:
        folder = self.convert(EMBEDDED_MODEL, tmp_path)
        carried = load_ct2_whisper(
            replace(base, model=str(folder), compute_type="float32", data_dir=tmp_path / "none"),
            quiet,
        )
        assert carried.capabilities.languages == ("ru",)
        assert carried.transcribe([windows()[0]], ask(language="ru"))[0].segments
        assert not (tmp_path / "none").exists()
        with pytest.raises(StenografError, match="only the engine ctranslate2") as refused:
            load_hf_whisper(replace(base, engine="transformers", model=str(folder)), quiet)
        assert "ENGINE=ctranslate2" in str(refused.value.hint)

    def test_a_damaged_one_is_explained(self, base: EngineSettings, tmp_path: Path) -> None:
        folder = self.convert(EMBEDDED_MODEL, tmp_path)
        body = (folder / "model.bin").read_bytes()
        (folder / "model.bin").write_bytes(body[: len(body) // 2])
        with pytest.raises(EngineUnfit, match="cannot load"):
            load_ct2_whisper(replace(base, model=str(folder)), quiet)


def test_old_checkpoints_work(old_engine: Ct2Whisper, tone: Callable[..., Waveform]) -> None:
    assert len(old_engine.capabilities.languages) == 99
    sounds = [tone(3.0), tone(7.0)]
    for options in (
        ask(language="ru"),
        ask(beam_size=2, task="translate", language="ru"),
        ask(language="auto", prompt="да", temperature=1.0),
    ):
        for sound, result in zip(sounds, old_engine.transcribe(sounds, options), strict=True):
            assert result.segments
            assert 0 <= (result.no_speech_prob or 0) <= 1
            heard = options.decode.language == "auto"
            assert (result.language_probability is not None) == heard
            at = 0
            for segment in result.segments:
                assert at <= segment.start <= segment.end <= sound.shape[0]
                at = segment.end
                assert "".join(word.text for word in segment.words) == segment.text
                for word in segment.words:
                    assert segment.start <= word.start <= word.end <= segment.end
                    assert word.probability is not None and 0 <= word.probability <= 1


def test_languages_are_those_of_the_reference(
    old_engine: Ct2Whisper, old_checkpoint: Callable[..., Path], base: EngineSettings
) -> None:
    folder = old_checkpoint(confident=True)
    reference = load_hf_whisper(
        replace(base, engine="transformers", model=str(folder), dtype="float32"), quiet
    )
    rng = np.random.default_rng(1)
    sounds = [rng.normal(0, 0.1, n).astype(np.float32) for n in (48_000, 160_000)]
    ours = old_engine.transcribe(sounds, ask(language="auto", word_timestamps=False))
    theirs = reference.transcribe(sounds, ask(language="auto", word_timestamps=False))
    assert [r.language for r in ours] == [r.language for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.language_probability == pytest.approx(other.language_probability, rel=1e-3)
        assert one.no_speech_prob == pytest.approx(other.no_speech_prob, rel=1e-2)


def test_scores_are_those_of_the_reference(engine: Ct2Whisper, base: EngineSettings) -> None:
    reference = load_hf_whisper(replace(base, engine="transformers"), quiet)
    sounds, greedy = list(windows()[:4]), Rung(0.0)
    theirs = reference.hear(sounds, ask(language="ru"), never).read(range(4), greedy)
    ours = engine.hear(sounds, ask(language="ru"), never).read(range(4), greedy)
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens == other.tokens
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=0.1)


def test_token_probabilities_are_told_without_words(engine: Ct2Whisper) -> None:
    options = ask(language="ru", word_timestamps=False, token_logprobs=True)
    (result,) = engine.transcribe([windows()[0]], options)
    scores = [score.logprob for segment in result.segments for score in segment.scores]
    assert len(set(scores)) > 3
    assert all(segment.words == () for segment in result.segments)


def test_the_caller_that_left_is_not_kept_waiting(
    old_engine: Ct2Whisper, tone: Callable[..., Waveform]
) -> None:
    left = threading.Event()
    timer = threading.Timer(0.3, left.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        old_engine.transcribe([tone(30.0)] * 40, ask(language="ru", beam_size=5), left.is_set)
    assert time.monotonic() - started < 60
    (after,) = old_engine.transcribe([tone(2.0)], ask(language="ru"))
    assert after.segments


def test_silence_never_reaches_the_model(engine: Ct2Whisper) -> None:
    (result,) = engine.transcribe([np.zeros(SAMPLE_RATE, np.float32)], ask(language="ru"))
    assert [warning.code for warning in result.warnings] == ["silence"]


def test_what_it_cannot_do_is_refused(engine: Ct2Whisper) -> None:
    with pytest.raises(BadOptions, match="xx"):
        engine.transcribe([windows()[0]], ask(language="xx"))


def test_closed_engines_give_their_memory_back(base: EngineSettings) -> None:
    engine = load_ct2_whisper(base, quiet)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.transcribe([windows()[0]], ask(language="ru"))
