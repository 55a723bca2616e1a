"""ENGINE=onnx with models whose text is known by construction: every tone is a piece of text."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from tests.model_hub import Hub
from tests.servers import backend_process, llm_process

from stenograf.contract.errors import Cancelled, ModelNotFound, StenografError, Unavailable
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, SAMPLE_RATE, Waveform, wav_bytes
from stenograf.llm.engines.base import EngineOptions, EngineUnfit
from stenograf.llm.engines.factory import EngineSettings, engine_factory
from stenograf.llm.engines.onnx import OnnxEngine, load_onnx
from stenograf.llm.engines.onnx_files import find
from stenograf.llm.engines.token_times import Token, segments

from .engine_settings import engine_settings
from .tone_models import FRAME_S, ctc_folder, pause, rnnt_folder, tone

ROUTE = "/v1/audio/transcriptions"
SENTENCES = np.concatenate(
    [
        pause(0.2),
        *(tone("▁раз", 0.4), tone(",", 0.2)),
        pause(0.3),
        *(tone("▁два", 0.3), tone(".", 0.2)),
        pause(0.3),
        *(tone("▁Ко", 0.2), tone("фе", 0.2)),
        pause(1.5),
        tone("▁три", 0.3),
        pause(0.1),
    ]
)
TEXT = "раз, два. Кофе три"
STARTS_S = {"раз,": 0.2, "два.": 1.1, "Кофе": 1.9, "три": 3.8}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("onnx")
    return {"ctc": ctc_folder(parent), "rnnt": rnnt_folder(parent)}


@pytest.fixture
def settings(folders: dict[str, Path], tmp_path: Path) -> EngineSettings:
    return engine_settings("onnx", folders["ctc"], tmp_path / "data")


@pytest.fixture
def engine(settings: EngineSettings) -> Iterator[OnnxEngine]:
    engine = load_onnx(settings, lambda *_: None)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def services(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Addresses of a model service with the CTC model and of a backend before it."""
    model = {
        "ENGINE": "onnx",
        "LOCAL_LLM_MODEL": str(folders["ctc"]),
        "LLM_MAX_BATCH": "4",
        "LLM_MAX_WAIT_MS": "200",
    }
    patient = {"ANSWER_START_S": "60"}  # an answer that began could not change its status
    llm = llm_process(tmp_path_factory.mktemp("llm"), **model, **patient)
    with llm, backend_process(tmp_path_factory.mktemp("backend"), llm.url, **patient) as backend:
        yield llm.url, backend.url


def ask(root: str, sound: Waveform = SENTENCES, **fields: Any) -> requests.Response:
    files = {"file": ("звук.wav", wav_bytes(sound), "audio/wav")}
    return requests.post(root + ROUTE, files=files, data=fields, timeout=60)


def test_text_and_times_through_the_model_service(services: tuple[str, str]) -> None:
    both = ["word", "segment"]
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": both}
    answer = ask(services[0], **fields).json()
    assert answer["text"].strip() == TEXT
    assert answer["language_code"] == "ru"
    assert [row["text"].strip() for row in answer["segments"]] == ["раз, два.", "Кофе", "три"]
    starts = {row["word"].strip(): row["start"] for row in answer["words"]}
    assert starts == pytest.approx(STARTS_S, abs=1.5 * FRAME_S)
    ends = {row["word"].strip(): row["end"] for row in answer["words"]}
    assert 0.6 <= ends["раз,"] <= STARTS_S["два."]
    assert ends["три"] <= len(SENTENCES) / SAMPLE_RATE
    assert all(-0.1 < row["avg_logprob"] <= 0 for row in answer["segments"])


def test_the_same_through_the_backend(services: tuple[str, str]) -> None:
    words = {"response_format": "verbose_json", "timestamp_granularities[]": ["word"]}
    answer = ask(services[1], vad_filter="false", language="ru", **words).json()
    assert answer["text"].strip() == TEXT
    starts = {row["word"].strip(): row["start"] for row in answer["words"]}
    assert starts == pytest.approx(STARTS_S, abs=1.5 * FRAME_S)
    subtitles = ask(services[1], vad_filter="false", language="ru", response_format="srt").text
    assert "00:00:03,8" in subtitles
    assert "три" in subtitles


def test_the_service_says_what_runs(services: tuple[str, str]) -> None:
    health = requests.get(f"{services[0]}/health", timeout=60).json()
    assert (health["engine"], health["engine_reason"]) == ("onnx", "ENGINE names it.")
    (model,) = requests.get(f"{services[0]}/v1/models", timeout=60).json()["data"]
    assert (model["id"], model["languages"], model["tasks"]) == ("tones", ["ru"], ["transcribe"])
    assert (model["dtype"], model["device"], model["embedded"]) == ("float32", "cpu", False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "auto"}, "language"),
        ({"language": "en"}, "language"),
        ({"prompt": "Кофе"}, "prompt"),
        ({"beam_size": "5"}, "beam_size"),
        ({"temperature": "0.4"}, "temperature"),
        ({"task": "translate"}, "task"),
    ],
)
@pytest.mark.parametrize("tier", [0, 1], ids=["model service", "backend"])
def test_what_it_lacks_is_refused_by_name(
    services: tuple[str, str], tier: int, fields: dict[str, str], param: str
) -> None:
    answer = ask(services[tier], vad_filter="false", **fields)
    assert answer.status_code in (400, 422), answer.text
    error = answer.json()["error"]
    assert "tones" in error["message"]
    if tier == 0:
        assert error["param"] == param


def test_silence_and_noise_give_no_text(services: tuple[str, str], engine: OnnxEngine) -> None:
    answer = ask(services[0], pause(3), response_format="verbose_json").json()
    assert (answer["text"], answer["segments"]) == ("", [])
    assert [warning["code"] for warning in answer["warnings"]] == ["silence"]
    noise = np.random.default_rng(0).normal(0, 0.001, 2 * SAMPLE_RATE).astype(np.float32)
    (result,) = engine.transcribe([noise], EngineOptions())
    assert (result.segments, result.language) == ((), "ru")


@pytest.mark.parametrize("kind", ["ctc", "rnnt"])
def test_a_window_reads_the_same_in_any_company(
    settings: EngineSettings, folders: dict[str, Path], kind: str
) -> None:
    engine = load_onnx(replace(settings, model=str(folders[kind])), lambda *_: None)
    short, long = tone("▁два", 0.1), np.tile(SENTENCES, 7)[:MAX_WINDOW_SAMPLES]
    windows = [SENTENCES, short, pause(1), long] * 3  # more than one forward pass takes
    results = engine.transcribe(windows, EngineOptions())
    alone = [engine.transcribe([window], EngineOptions())[0] for window in windows[:4]]
    for result, single in zip(results, alone * 3, strict=True):
        assert _shape(result.segments) == _shape(single.segments)
    assert "".join(segment.text for segment in results[0].segments).strip() == TEXT
    assert "".join(segment.text for segment in results[1].segments) == " два"
    assert results[1].segments[0].end <= len(short)
    assert "".join(s.text for s in results[3].segments).split()[:8] == (f"{TEXT} " * 2).split()
    engine.close()


def _shape(found: Any) -> list[tuple[str, int, int]]:
    return [(segment.text, segment.start, segment.end) for segment in found]


def test_scores_and_words_only_where_asked(engine: OnnxEngine) -> None:
    decode = DecodeOptions(token_logprobs=True, word_timestamps=False)
    (asked,) = engine.transcribe([SENTENCES], EngineOptions(decode=decode))
    (plain,) = engine.transcribe([SENTENCES], EngineOptions())
    assert [score.text for score in asked.segments[0].scores] == [" раз", ",", " два", "."]
    assert not any(segment.words for segment in asked.segments)
    assert not any(segment.scores for segment in plain.segments)


def test_who_gave_up_is_not_waited_for(engine: OnnxEngine) -> None:
    with pytest.raises(Cancelled):
        engine.transcribe([SENTENCES], EngineOptions(), lambda: True)


def test_auto_takes_it_for_a_folder_of_its_kind(settings: EngineSettings) -> None:
    engine = engine_factory(replace(settings, engine="auto"))(lambda *_: None)
    assert engine.capabilities.engine == "onnx"
    assert "ONNX" in engine.capabilities.engine_reason
    engine.close()


def test_int8_takes_the_quantized_files(settings: EngineSettings, tmp_path: Path) -> None:
    folder = shutil.copytree(settings.model, tmp_path / "quantized")
    (folder / "v3_ctc.onnx").rename(folder / "v3_ctc.int8.onnx")
    engine = load_onnx(replace(settings, model=str(folder), compute_type="int8"), lambda *_: None)
    assert engine.capabilities.dtype == "int8"
    (result,) = engine.transcribe([SENTENCES], EngineOptions())
    assert "".join(segment.text for segment in result.segments).strip() == TEXT
    with pytest.raises(ModelNotFound, match="cannot be loaded"):
        load_onnx(replace(settings, model=str(folder)), lambda *_: None)
    engine.close()


@pytest.mark.parametrize(
    ("files", "config", "kind"),
    [
        (["v2_ctc.onnx", "v2_ctc.int8.onnx", "v2_vocab.txt"], {}, "gigaam-v2-ctc"),
        (["v3_rnnt_encoder.onnx", "v3_rnnt_joint.onnx"], {}, "gigaam-v2-rnnt"),
        (["v3_e2e_ctc.int8.onnx"], {"model_type": "gigaam"}, "gigaam-v3-e2e-ctc"),
        (["multilingual_large_ctc.onnx"], {}, "gigaam-multilingual-ctc"),
        (["am-onnx/encoder.onnx", "am-onnx/joiner.onnx", "lang/tokens.txt"], {}, "vosk"),
        (["model.onnx", "vocab.txt"], {"model_type": "nemo-conformer-ctc"}, "nemo-conformer-ctc"),
        (["model.onnx"], {"model_type": "t-one-ctc"}, "t-one-ctc"),
    ],
)
def test_a_folder_tells_its_kind(
    tmp_path: Path, files: list[str], config: dict[str, str], kind: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert find(str(tmp_path), None, tmp_path, lambda *_: None).kind == kind


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_drop("v3_ctc.onnx"), "none of GigaAM"),
        (_drop("v3_vocab.txt"), "v._vocab.txt"),
        (_write("v3_ctc.onnx", "not a model"), "cannot be loaded"),
        (_write("v3_vocab.txt", "without numbers"), "cannot be loaded"),
        (_write("config.json", "{"), "config.json cannot be read"),
        (_write("config.json", "[]"), "config.json cannot be read"),
        (_write("v3_rnnt_encoder.onnx", ""), "2 models"),
    ],
)
def test_a_folder_that_is_no_model_is_told(
    settings: EngineSettings, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = shutil.copytree(settings.model, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(ModelNotFound, match=said):
        load_onnx(replace(settings, model=str(folder)), lambda *_: None)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"model": "nonesuch"}, ModelNotFound, "nonesuch"),
        ({"model": "/nonesuch"}, ModelNotFound, "nonesuch"),
        ({"model": "nemo-canary-1b-v2"}, ModelNotFound, "canary"),
        ({"compute_type": "float16"}, EngineUnfit, "float16"),
        ({"compute_type": "int8"}, ModelNotFound, "int8"),
        ({"device": "cuda:0"}, EngineUnfit, "CUDA"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    settings: EngineSettings, change: dict[str, str], kind: type[StenografError], said: str
) -> None:
    with pytest.raises(kind, match=said) as failure:
        load_onnx(replace(settings, **change), lambda *_: None)
    assert failure.value.hint


def test_a_model_is_fetched_by_its_name_once(folders: dict[str, Path], tmp_path: Path) -> None:
    named = {"ENGINE": "onnx", "LOCAL_LLM_MODEL": "gigaam-v3-ctc"}
    files = {path.name: path.read_bytes() for path in folders["ctc"].iterdir()}
    with Hub("istupakov/gigaam-v3-onnx", files) as hub:
        with llm_process(tmp_path, **named, HF_ENDPOINT=hub.url) as first:
            assert ask(first.url).json()["text"].strip() == TEXT
        assert any("v3_ctc.onnx" in path for path in hub.asked)
    (kept,) = (tmp_path / "onnx_models").iterdir()
    assert kept.name == "gigaam-v3-ctc"
    with llm_process(tmp_path, **named, HF_ENDPOINT=hub.url) as again:  # the hub is gone
        (model,) = requests.get(f"{again.url}/v1/models", timeout=60).json()["data"]
        assert (model["id"], model["state"]) == ("gigaam-v3-ctc", "ready")


def test_a_hub_out_of_reach_leaves_nothing_behind(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="gigaam-v3-ctc"):
        load_onnx(replace(settings, model="gigaam-v3-ctc"), lambda *_: None)
    assert list((settings.data_dir / "onnx_models").iterdir()) == []


def test_without_onnx_asr_it_says_what_to_install(settings: EngineSettings) -> None:
    code = f"""
import sys
sys.modules["onnx_asr"] = None
from pathlib import Path
from stenograf.llm.engines.factory import EngineSettings, engine_factory
from stenograf.contract.errors import StenografError
where = Path({str(settings.data_dir)!r})
try:
    settings = EngineSettings("onnx", {settings.model!r}, "auto", "cpu", 1, where, where)
    engine_factory(settings)(lambda *_: None)
except StenografError as error:
    print(error.code, error.message, error.hint)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("engine_unfit ENGINE=onnx needs onnx-asr")
    assert "req_onnx.txt" in run.stdout


def test_signs_and_dashes_belong_to_the_word_before() -> None:
    pieces = [" Да", " ,", " —", " он", " «", "раз", "»", " 5", "-", "й", ".", " "]
    tokens = [Token(text, i * 3200, -0.1) for i, text in enumerate(pieces)]
    (first,) = segments(tokens, len(pieces) * 3200, words=True, scores=False)
    assert [word.text for word in first.words] == [" Да, —", " он", " «раз»", " 5-й."]
    assert first.text == " Да, — он «раз» 5-й."
    assert all(a.end <= b.start for a, b in zip(first.words, first.words[1:], strict=False))


def test_a_token_may_end_one_word_and_begin_the_next() -> None:
    found = segments(
        [Token(" а б", 0, -0.5), Token("в", 3200, -0.1)], 16_000, words=True, scores=True
    )
    assert [word.text for word in found[0].words] == [" а", " бв"]
    assert [score.text for score in found[0].scores] == [" а б", "в"]
    assert segments([], 16_000, words=True, scores=True) == ()
