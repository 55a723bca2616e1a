"""ENGINE=auto: what is tried in which order, and that it says so."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import ctranslate2
import pytest
import requests
from tests.llm.engine_settings import engine_settings
from tests.servers import EMBEDDED_MODEL, llm_process

from stenograf.llm.engines.base import EngineUnfit
from stenograf.llm.engines.factory import EngineSettings, choices, engine_factory

WITH_GPU = ctranslate2.get_cuda_device_count() > 0


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return engine_settings("auto", EMBEDDED_MODEL, tmp_path / "data")


def names(settings: EngineSettings) -> list[str]:
    return [engine for engine, _ in choices(settings)]


def test_on_a_cpu_the_fastest_is_tried_first(settings: EngineSettings) -> None:
    assert names(settings) == ["native", "ctranslate2", "transformers"]


def test_on_a_gpu_it_is_transformers(settings: EngineSettings) -> None:
    assert names(replace(settings, device="cuda:1")) == ["transformers"]
    assert (names(replace(settings, device="auto")) == ["transformers"]) == WITH_GPU


def test_what_was_asked_for_decides(settings: EngineSettings, tmp_path: Path) -> None:
    assert names(replace(settings, dtype="bfloat16")) == ["transformers"]
    assert names(replace(settings, compute_type="int8")) == ["ctranslate2"]
    (tmp_path / "model.bin").touch()
    assert names(replace(settings, model=str(tmp_path))) == ["ctranslate2"]


def test_an_unfit_engine_is_passed_over_aloud(
    settings: EngineSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tokenizer with a second language in so small a vocabulary is too much for CTranslate2."""
    folder = shutil.copytree(EMBEDDED_MODEL, tmp_path / "two_languages")
    notes = folder / "generation_config.json"
    text = notes.read_text().replace('"<|ru|>": 771', '"<|ru|>": 771, "<|en|>": 770')
    notes.write_text(text)
    tried = replace(settings, model=str(folder))
    with pytest.raises(EngineUnfit, match="tell languages apart"):
        engine_factory(replace(tried, engine="ctranslate2"))(lambda *_: None)
    caplog.set_level(logging.INFO)
    engine = engine_factory(tried)(lambda *_: None)
    known = engine.capabilities
    engine.close()
    if known.engine == "native":  # it knows no such bound
        assert known.engine_reason
        return
    assert known.engine == "transformers"
    assert "Not ctranslate2: CTranslate2 cannot tell languages apart" in known.engine_reason
    assert any("ctranslate2 is not used" in record.message for record in caplog.records)


def test_the_service_says_what_it_chose(tmp_path: Path) -> None:
    with llm_process(tmp_path, COMPUTE_TYPE="float32") as service:
        for route in ("/health", "/ready"):
            told = requests.get(service.url + route, timeout=60).json()
            assert told["engine"] == "ctranslate2"
            assert told["engine_reason"] == "COMPUTE_TYPE=float32 asks for it."
            assert told["max_batch"] > 1
    log = service.log.read_text()
    assert f"batches of up to {told['max_batch']} windows" in log
    assert "engine ctranslate2 chosen: COMPUTE_TYPE=float32 asks for it." in log
