"""The native model against transformers, against itself in other company, and against bad use."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.llm.engine_settings import engine_settings
from tests.llm.native_models import ODD, exercise, features, random_model
from tests.servers import EMBEDDED_MODEL, ROOT
from transformers import WhisperForConditionalGeneration

from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.base import EngineOptions, EngineUnfit, never
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.native import NativeWhisper, load_native
from stenograf.llm.native.build import SANITIZERS, build
from stenograf.llm.native.library import (
    Floats,
    Library,
    Model,
    NativeUnavailable,
    Rows,
    Shape,
)
from stenograf.llm.native.weights import fill, shape_of
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.decoder import listen
from stenograf.llm.whisper.sound import Sound
from stenograf.llm.whisper.weights import Weights

Load = Callable[[EngineSettings], NativeWhisper]
HEADS = ((0, 1), (1, 0), (1, 2))


@pytest.fixture(scope="module")
def theirs() -> Any:
    model = WhisperForConditionalGeneration.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    return model.eval()


@pytest.fixture(scope="module")
def mel(theirs: Any) -> Floats:
    """Features that swell and fade: nothing it was trained on, but it computes all the same."""
    frames = np.arange(2 * theirs.config.max_source_positions)
    sound = np.random.default_rng(5).normal(0, 0.3, (80, frames.size)) + np.sin(frames / 40)
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def heard(theirs: Any, mel: Floats) -> Sound:
    with torch.inference_mode():
        return listen(theirs, torch.from_numpy(mel)[None])


def embedded(library: Library, *, precise: bool, isa: str = "", threads: int = 2) -> Model:
    checkpoint = open_checkpoint(EMBEDDED_MODEL, Path("never"))
    shape = replace(shape_of(checkpoint.config), precise=precise)
    model = Model(library, shape, threads, isa)
    for _ in fill(model, Weights(checkpoint.folder)):
        pass
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["precise", "8 bits"])
def ours(native_library: Library, request: pytest.FixtureRequest) -> Model:
    return embedded(native_library, precise=request.param)


def relative(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.abs(ours - theirs).mean() / np.abs(theirs).mean())


def test_encoder_states(ours: Model, theirs: Any, mel: Floats) -> None:
    with torch.inference_mode():
        expected = theirs.model.encoder(torch.from_numpy(mel)[None]).last_hidden_state[0].numpy()
    assert relative(ours.encode(mel), expected) < (0.003 if ours.shape.precise else 0.04)


def test_logits_of_a_prefix_and_of_steps(ours: Model, heard: Sound, mel: Floats) -> None:
    window = ours.hear(mel)
    apart = []
    for prefix in np.random.default_rng(3).integers(3, 700, (9, 6)):
        tokens = np.array([[769, 775, 800, *prefix]])
        with torch.inference_mode():
            expected = heard.steps([0]).feed(tokens)
        at_once = ours.decode([window]).feed(tokens)
        rows = ours.decode([window])
        for token in tokens[0]:
            stepped = rows.feed(np.array([[token]]))
        assert np.array_equal(at_once, stepped)
        apart.append(np.abs(at_once - expected).mean() / expected.std())
    # what 8 bits do to one odd prefix is chance: rounding anew moves it by a factor of two
    assert np.median(apart) < (0.003 if ours.shape.precise else 0.2), apart


def test_cross_attention(ours: Model, heard: Sound, mel: Floats) -> None:
    tokens = [769, 775, 800, 5, 9, 100, 3, 768]
    with torch.inference_mode():
        expected = heard.attention(0, tokens, HEADS, 400)
    scores = ours.decode([ours.hear(mel)]).look(np.array([tokens]), HEADS)[:, 0, :, :400]
    chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    apart = np.abs(chances - expected).sum(axis=-1)  # 2 where nothing is in common
    assert apart.mean() < (0.02 if ours.shape.precise else 0.15)


def test_rows_do_not_disturb_each_other(ours: Model, mel: Floats) -> None:
    windows = [ours.hear(mel), ours.hear(mel[:, :800]), ours.hear(-mel)]
    tokens = np.array([[769, 3], [769, 500], [5, 5]])
    together = ours.decode(windows).feed(tokens)
    for i, window in enumerate(windows):
        assert np.array_equal(ours.decode([window]).feed(tokens[i : i + 1])[0], together[i])
    beams = ours.decode([windows[0]] * 3).feed(tokens)
    for i in range(3):
        assert np.array_equal(ours.decode([windows[0]]).feed(tokens[i : i + 1])[0], beams[i])


def test_rows_go_on_from_others(ours: Model, mel: Floats) -> None:
    """What rows hold after growing, shuffling and shrinking is what was fed on their way."""
    windows = [ours.hear(mel), ours.hear(-mel)]
    rows = ours.decode(windows)
    rows.feed(np.array([[769, 10], [769, 20]]))
    rows.select([0, 0, 1, 0, 1])
    rows.feed(np.array([[1], [2], [3], [4], [5]]))
    rows.select([4, 0, 2, 3])
    rows.feed(np.array([[6], [7], [8], [9]]))
    rows.select([2, 0])
    logits = rows.feed(np.array([[30], [31]]))
    ways = [(1, [769, 20, 3, 8, 30]), (1, [769, 20, 5, 6, 31])]
    for row, (window, way) in zip(logits, ways, strict=True):
        assert np.array_equal(ours.decode([windows[window]]).feed(np.array([way]))[0], row)


def test_many_rows_and_a_long_prefix(native_library: Library) -> None:
    """More rows than go through the layers at once, and more tokens than a page holds."""
    model = random_model(native_library, ODD)
    window = model.hear(features(ODD, 40))
    tokens = np.random.default_rng(2).integers(0, ODD.vocabulary, (90, 50))
    rows = model.decode([window] * 90)
    rows.feed(tokens[:, :40])
    logits = rows.feed(tokens[:, 40:])
    for i in (0, 41, 89):
        assert np.array_equal(model.decode([window]).feed(tokens[i : i + 1])[0], logits[i])


@pytest.mark.parametrize("isa", ["base", "avx2", "avxvnni", "avx512", "amx"])
def test_every_instruction_set_computes_the_same(native_library: Library, isa: str) -> None:
    try:
        native_library.isa(isa)
    except NativeUnavailable:
        pytest.skip(f"this CPU has no {isa}")
    plain, model = (random_model(native_library, ODD, each) for each in ("base", isa))
    expected = plain.encode(features(ODD, 77))
    assert relative(model.encode(features(ODD, 77)), expected) < 0.02
    tokens = np.array([[1, 2, 3, 4]])
    logits = model.decode([model.hear(features(ODD, 77))]).feed(tokens)
    reference = plain.decode([plain.hear(features(ODD, 77))]).feed(tokens)
    assert np.abs(logits - reference).max() < 0.1 * reference.std()


def test_threads_change_nothing(native_library: Library) -> None:
    models = [random_model(native_library, ODD, threads=threads) for threads in (1, 2, 5)]
    logits = [
        model.decode([model.hear(features(ODD, 77))] * 9).feed(np.arange(18).reshape(9, 2))
        for model in models
    ]
    assert np.array_equal(logits[0], logits[1])
    assert np.array_equal(logits[0], logits[2])


def test_everything_runs_with_odd_sizes(native_library: Library) -> None:
    exercise(native_library, "", ODD, 2)


BAD_MODEL_CALLS: list[Callable[[Model], object]] = [
    lambda model: model.hear(np.zeros((80, 10), np.float32)),
    lambda model: model.hear(np.zeros((7, 9), np.float32)),
    lambda model: model.hear(np.zeros((7, 0), np.float32)),
    lambda model: model.hear(np.zeros((7, 2 * 78), np.float32)),
    lambda model: model.encode(np.zeros(14, np.float32)),
    lambda model: model.set("encoder.conv1.weight", np.zeros((1, 1), np.float32)),
    lambda model: model.seal(),
    lambda model: model.decode([]),
    lambda model: model.decode([model.hear(features(ODD, 20))] * 5000),
]
BAD_ROW_CALLS: list[Callable[[Rows], object]] = [
    lambda rows: rows.feed(np.array([[301]])),
    lambda rows: rows.feed(np.array([[-1]])),
    lambda rows: rows.feed(np.array([[1 << 40]])),
    lambda rows: rows.feed(np.array([[1], [1]])),
    lambda rows: rows.feed(np.zeros((1, 0), np.int64)),
    lambda rows: rows.feed(np.zeros((1, 71), np.int64)),
    lambda rows: rows.feed(np.array([1])),
    lambda rows: rows.look(np.array([[1]]), [(2, 0)]),
    lambda rows: rows.look(np.array([[1]]), [(0, -1)]),
    lambda rows: rows.select([1]),
    lambda rows: rows.select([-1]),
    lambda rows: rows.select([]),
    lambda rows: rows.select([0] * 5000),
]


def test_bad_arguments_are_refused_and_change_nothing(native_library: Library) -> None:
    model = random_model(native_library, ODD)
    rows = model.decode([model.hear(features(ODD, 20))])
    for bad_model_call in BAD_MODEL_CALLS:
        with pytest.raises(ValueError):
            bad_model_call(model)
    for bad_row_call in BAD_ROW_CALLS:
        with pytest.raises(ValueError):
            bad_row_call(rows)
    fresh = model.decode([model.hear(features(ODD, 20))])
    assert np.array_equal(rows.feed(np.array([[7]])), fresh.feed(np.array([[7]])))


def test_tensors_that_do_not_fit_are_refused(native_library: Library) -> None:
    model = Model(native_library, ODD, 1)
    names = dict(model.wanted())
    with pytest.raises(ValueError, match=r"encoder\.conv1\.weight is missing"):
        model.seal()
    with pytest.raises(ValueError, match="not sealed"):
        model.hear(features(ODD, 20))
    for name, tensor, first in [
        ("encoder.conv1.weight", np.zeros((60, 20), np.float32), 0),
        ("encoder.conv1.weight", np.zeros((61, 21), np.float32), 0),
        ("encoder.conv1.weight", np.zeros((1, 21), np.float32), 1),
        ("encoder.conv1.weight", np.zeros((1, 21), np.float32), -1),
        ("encoder.conv1.weight", np.zeros(21, np.float32), 0),
        ("encoder.conv1.weight", np.full((1, 21), np.nan, np.float32), 0),
        ("encoder.conv9.weight", np.zeros((1, 21), np.float32), 0),
    ]:
        with pytest.raises(ValueError):
            model.set(name, tensor, first)
    assert names["decoder.embed_tokens.weight"] == ODD.vocabulary


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 61},
        {"width": 600, "heads": 3},
        {"vocabulary": 0},
        {"max_tokens": -1},
        {"encoder_layers": 1 << 40},
    ],
)
def test_shapes_that_it_cannot_compute_are_refused(
    native_library: Library, sizes: dict[str, int]
) -> None:
    with pytest.raises(ValueError):
        Model(native_library, Shape(**{**vars(ODD), **sizes}), 1)


def test_a_closed_model_is_not_used(native_library: Library) -> None:
    model = random_model(native_library, ODD)
    window = model.hear(features(ODD, 20))
    rows = model.decode([window])
    model.close()
    model.close()
    for use in (lambda: model.hear(features(ODD, 20)), lambda: rows.feed(np.array([[1]]))):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return engine_settings("native", EMBEDDED_MODEL, tmp_path, threads=2)


@pytest.fixture
def load(native_library: Library) -> Load:
    """Loads the engine with the library that these tests have compiled."""
    return lambda settings: load_native(settings, lambda *_: None, native_library)


def noise(seconds: float) -> Waveform:
    sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE))
    return sound.astype(np.float32)


def test_company_does_not_change_a_result(load: Load, settings: EngineSettings) -> None:
    engine = load(settings)
    windows = [noise(3), np.zeros(SAMPLE_RATE, np.float32), noise(12), noise(0.3)]
    for decode in (DecodeOptions(language="ru"), DecodeOptions(language="ru", beam_size=3)):
        options = EngineOptions(decode=decode)
        together = engine.transcribe(windows, options)
        assert together == [engine.transcribe([window], options)[0] for window in windows]


def test_a_short_window_costs_less_with_a_margin(load: Load, settings: EngineSettings) -> None:
    full, short = (
        load(replace(settings, threads=1, native_margin_s=margin_s)) for margin_s in (None, 2.0)
    )
    options = EngineOptions(decode=DecodeOptions(language="ru", word_timestamps=False))
    spent: list[float] = []
    for engine in (full, short):
        engine.transcribe([noise(2)], options)
        tries = []
        for _ in range(5):
            began = time.process_time()
            engine.hear([noise(2)], options, never)
            tries.append(time.process_time() - began)
        spent.append(min(tries))  # what else runs makes a try dearer, never cheaper
    assert spent[1] < 0.7 * spent[0]
    whole = noise(30)
    assert full.transcribe([whole], options) == short.transcribe([whole], options)


def test_an_old_checkpoint_with_narrow_heads(
    load: Load, settings: EngineSettings, tiny_old: Path, load_engine: Callable[[Path], Any]
) -> None:
    theirs = load_engine(tiny_old)
    ours = load(replace(settings, model=str(tiny_old)))
    assert ours.capabilities.languages == theirs.capabilities.languages
    options = EngineOptions(decode=DecodeOptions(language="ru", word_timestamps=True))
    found, expected = (engine.transcribe([noise(5)], options)[0] for engine in (ours, theirs))
    assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=0.05)


def test_what_it_cannot_serve_is_said(load: Load, settings: EngineSettings) -> None:
    with pytest.raises(EngineUnfit, match="CPU only"):
        load(replace(settings, device="cuda"))
    with pytest.raises(EngineUnfit, match="mmx"):
        load(replace(settings, native_isa="mmx"))
    engine = load(replace(settings, native_isa="base"))
    assert engine.capabilities.device == "cpu (base)"
    engine.close()


@pytest.mark.slow
def test_under_sanitizers(tmp_path: Path) -> None:
    """Everything, on every instruction set, with addresses and undefined behaviour checked."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = build(tmp_path / "_stenograf.so", extra=SANITIZERS)
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-m", "tests.llm.native_models", library],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "base done" in done.stdout
