"""Checkpoints of 2022: a `.bin`, no generation config, forced ids of another time."""

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stenograf.contract.errors import BadOptions, BadRequest, Cancelled, StenografError
from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.contract.pcm import Waveform
from stenograf.llm.engines.base import EngineOptions, WindowResult
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.hf_whisper import HfWhisper, load_hf_whisper

Load = Callable[..., HfWhisper]
Tone = Callable[..., Waveform]
ANYTHING = GuardOptions(logprob_threshold=-1000, compression_ratio_threshold=1000)


def ask(**decode: Any) -> EngineOptions:
    return EngineOptions(decode=DecodeOptions(**decode), guard=ANYTHING)


def check_times(result: WindowResult, n_samples: int) -> None:
    at = 0
    for segment in result.segments:
        assert at <= segment.start <= segment.end <= n_samples
        at = segment.end
        assert "".join(word.text for word in segment.words) == segment.text
        word_at = segment.start
        for word in segment.words:
            assert word_at <= word.start <= word.end <= segment.end
            word_at = word.end
            assert word.probability is not None and 0 <= word.probability <= 1


@pytest.fixture(scope="module")
def engine(tiny_old: Path, tmp_path_factory: pytest.TempPathFactory) -> HfWhisper:
    data = tmp_path_factory.mktemp("data")
    settings = EngineSettings("transformers", str(tiny_old), "auto", "cpu", 1, data, data)
    return load_hf_whisper(settings, lambda *_: None)


@pytest.mark.parametrize(
    "options",
    [ask(), ask(beam_size=2, task="translate"), ask(language="auto", prompt="да", temperature=1)],
)
def test_loads_and_answers(engine: HfWhisper, tone: Tone, options: EngineOptions) -> None:
    assert len(engine.capabilities.languages) == 99
    assert engine.capabilities.tasks == ("transcribe", "translate")
    windows = [tone(3.0), tone(7.0)]
    results = engine.transcribe(windows, options)
    assert len(results) == 2
    for window, result in zip(windows, results, strict=True):
        assert result.segments
        check_times(result, window.shape[0])
        assert 0 <= (result.no_speech_prob or 0) <= 1
        heard = options.decode.language == "auto"
        assert (result.language_probability is not None) == heard


def test_the_shape_of_medium(
    old_checkpoint: Callable[..., Path], load_engine: Load, tone: Tone
) -> None:
    engine = load_engine(old_checkpoint(layers=24, heads=16, d_model=64))
    (result,) = engine.transcribe([tone(3.0)], ask())
    assert result.segments
    check_times(result, 48_000)


def test_the_weights_are_converted_once_and_safely(
    tiny_old: Path, load_engine: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = load_engine(tiny_old), load_engine(tiny_old)
    assert sum("converting" in record.message for record in caplog.records) == 1
    (converted,) = (tmp_path / "data" / "converted_models").iterdir()
    assert not (converted / "pytorch_model.bin").exists()
    assert (converted / "model.safetensors").stat().st_size > 1_000_000
    original = torch.load(tiny_old / "pytorch_model.bin", weights_only=True)
    for engine in (first, second):
        loaded = engine._model.state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in original.items())


def test_sharded_weights(tiny_old: Path, load_engine: Load, tmp_path: Path, tone: Tone) -> None:
    folder = shutil.copytree(tiny_old, tmp_path / "sharded")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    halves = {
        "pytorch_model-00001-of-00002.bin": names[::2],
        "pytorch_model-00002-of-00002.bin": names[1::2],
    }
    for file, part in halves.items():
        torch.save({name: state[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    whole, sharded = load_engine(tiny_old), load_engine(folder)
    assert whole.transcribe([tone(2)], ask()) == sharded.transcribe([tone(2)], ask())


def test_no_network_is_used(
    tiny_old: Path, load_engine: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"connects to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_engine(tiny_old).capabilities.model == tiny_old.name


def test_a_batch_reads_as_its_windows_alone(engine: HfWhisper) -> None:
    rng = np.random.default_rng(5)
    windows = [rng.normal(0, 0.1, n).astype(np.float32) for n in (16_000, 32_000, 64_000)]
    together = engine.transcribe(windows, ask())
    alone = [engine.transcribe([window], ask())[0] for window in windows]
    assert [[s.tokens for s in r.segments] for r in together] == [
        [s.tokens for s in r.segments] for r in alone
    ]
    for one, other in zip(together, alone, strict=True):
        assert one.no_speech_prob == pytest.approx(other.no_speech_prob, rel=1e-3)
        for mine, theirs in zip(one.segments, other.segments, strict=True):
            assert (mine.start, mine.end) == (theirs.start, theirs.end)
            assert mine.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3)


def test_sampling_is_repeatable(engine: HfWhisper, tone: Tone) -> None:
    options = ask(temperature=0.8)
    first, second = (engine.transcribe([tone(2)], options) for _ in range(2))
    assert first == second
    assert first != engine.transcribe([tone(2)], ask())


def test_silence_and_nothing_give_no_text_and_a_reason(engine: HfWhisper) -> None:
    silence = [np.zeros(n, np.float32) for n in (0, 1, 480_000)]
    for result in engine.transcribe(silence, ask()):
        assert result.segments == ()
        assert [warning.code for warning in result.warnings] == ["silence"]


def test_one_sample_of_sound_is_no_error(engine: HfWhisper) -> None:
    (result,) = engine.transcribe([np.ones(1, np.float32)], ask())
    check_times(result, 1)


def test_the_caller_that_left_stops_the_work(engine: HfWhisper, tone: Tone) -> None:
    with pytest.raises(Cancelled):
        engine.transcribe([tone(2)], ask(), lambda: True)


def test_what_it_cannot_do_is_refused(engine: HfWhisper, tone: Tone) -> None:
    with pytest.raises(BadOptions, match="xx"):
        engine.transcribe([tone(1)], ask(language="xx"))
    with pytest.raises(BadRequest, match="30 s"):
        engine.transcribe([tone(31)], ask())
    with pytest.raises(BadRequest, match="finite"):
        engine.transcribe([np.array([np.nan], np.float32)], ask())


class Evil:
    """Would make a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self._path,)


def broken(folder: Path, kind: str, canary: Path) -> None:
    weights = folder / "pytorch_model.bin"
    config = json.loads((folder / "config.json").read_text())
    match kind:
        case "evil":
            weights.write_bytes(pickle.dumps({"weight": Evil(canary)}))
        case "evil zip":
            torch.save({"weight": Evil(canary)}, weights)
        case "pointer":
            weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
        case "cut off":
            weights.write_bytes(weights.read_bytes()[:100_000])
        case "no weights":
            weights.unlink()
        case "no tokenizer":
            (folder / "vocab.json").unlink()
        case "no config":
            (folder / "config.json").unlink()
        case "other model":
            (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
        case "config is no JSON":
            (folder / "config.json").write_text("<html>")
        case "tensors missing":
            state = torch.load(weights, weights_only=True)
            torch.save({k: v for k, v in state.items() if "decoder.layers.1" not in k}, weights)
        case "wrong shape":
            (folder / "config.json").write_text(json.dumps(config | {"d_model": 192}))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("evil", "cannot be loaded safely"),
        ("evil zip", "cannot be loaded safely"),
        ("pointer", "Git LFS pointer"),
        ("cut off", "cannot be loaded safely"),
        ("no weights", "no weights"),
        ("no tokenizer", "no tokenizer"),
        ("no config", "no config.json"),
        ("other model", "wav2vec2"),
        ("config is no JSON", "cannot be read"),
        ("tensors missing", "lack"),
        ("wrong shape", "cannot be loaded"),
    ],
)
def test_a_broken_folder_is_explained(
    tiny_old: Path, load_engine: Load, tmp_path: Path, kind: str, says: str
) -> None:
    folder, canary = shutil.copytree(tiny_old, tmp_path / "model"), tmp_path / "canary"
    broken(folder, kind, canary)
    with pytest.raises(StenografError, match=says) as refused:
        load_engine(folder)
    assert refused.value.hint
    assert not canary.exists()
    left = tmp_path / "data" / "converted_models"
    assert (
        kind in ("tensors missing", "wrong shape") or not left.exists() or not list(left.iterdir())
    )


def test_a_gpu_that_is_not_there_is_explained(tiny_old: Path, load_engine: Load) -> None:
    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has it")
    with pytest.raises(StenografError, match="DEVICE is cuda:7") as refused:
        load_engine(tiny_old, device="cuda:7")
    assert "DEVICE=cpu" in str(refused.value.hint)


def test_half_precision(tiny_old: Path, load_engine: Load, tone: Tone) -> None:
    engine = load_engine(tiny_old, dtype="bfloat16")
    assert engine.capabilities.dtype == "bfloat16"
    check_times(engine.transcribe([tone(2)], ask())[0], 32_000)
