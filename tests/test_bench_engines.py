"""The comparison of engines: what it makes of runs, and that its checkpoints say what they must."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench.common import ROOT
from bench.engines import checkpoints, device, formats
from bench.engines.__main__ import Run
from bench.engines.floor import Rates, floor_s
from bench.engines.report import Table

RUNS = [
    Run("native", seconds=s, peak_rss_bytes=2**30, texts=("раз два",)) for s in (2.0, 1.0, 3.0)
] + [
    Run("faster-whisper batched", seconds=6.0, peak_rss_bytes=2**31, texts=("раз два",)),
    Run("faster-whisper", seconds=8.0, peak_rss_bytes=2**31, texts=("раз",)),
    Run("whisper.cpp", error="no such file"),
]


def test_the_table_tells_medians_ratios_and_failures() -> None:
    text = Table("tiny", RUNS, 1.0, "", 2).markdown()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:1] == "|"}
    assert [cell.strip() for cell in rows["native"].split("|")[2:-1]] == [
        "2.00", "1.00 to 3.00", "3.00", "2.0", "1.00", "yes",
    ]  # fmt: skip
    assert rows["faster-whisper"].rstrip(" |").endswith("no")
    assert "does not run: no such file" in rows["whisper.cpp"]
    assert list(rows).index("native") < list(rows).index("faster-whisper")


def test_the_table_tells_word_errors_where_there_is_a_reference() -> None:
    text = Table("embedded", RUNS, None, "Раз, два!", 2).markdown()
    assert "| 0.0% |" in text
    assert "| 50.0% |" in text


def test_the_plot_has_a_bar_for_each_engine() -> None:
    drawn = Table("tiny", RUNS, 1.0, "", 2).svg()
    assert drawn.count("<rect") == 1 + 3
    assert "native" in drawn


def test_the_floor_grows_with_the_work() -> None:
    rates = Rates(int8=1e11, float32=5e10, read_bytes=1e10)
    shapes = checkpoints.SHAPES
    small = floor_s(shapes["small"], 8, 50, 8, rates)
    assert 1 < small < floor_s(shapes["medium"], 8, 50, 8, rates)
    assert small < floor_s(shapes["small"], 8, 50, 1, rates)
    assert floor_s(shapes["small"], 16, 50, 8, rates) == pytest.approx(2 * small)


def test_ggml_blocks_hold_the_numbers() -> None:
    body = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    body[0, :32] = 0
    packed = np.frombuffer(formats.q8_0(body), dtype=np.int8).reshape(-1, 34)
    scale = packed[:, :2].copy().view(np.float16).astype(np.float32)
    back = (packed[:, 2:] * scale).reshape(body.shape)
    assert np.abs(back - body).max() <= np.abs(body).max() / 127


@pytest.mark.slow
def test_a_checkpoint_of_random_weights_says_so_many_tokens(tmp_path: Path) -> None:
    folder = checkpoints.checkpoint("tiny", 7, tmp_path)
    sound = tmp_path / "sound.npy"
    np.save(sound, np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32))
    texts = set()
    for engine in ("ctranslate2", "transformers"):
        task = {
            "engine": engine,
            "folder": str(folder),
            "sounds": [str(sound)] * 2,
            "threads": 1,
            "batch": 2,
            "words": False,
            "data_dir": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.engines.ours", json.dumps(task)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        told = json.loads(done.stdout.strip().splitlines()[-1])
        assert told["seconds"] > 0
        assert told["peak_rss_bytes"] > 2**27
        texts |= set(told["texts"])
    assert len(texts) == 1
    assert len(texts.pop().split()) == 7


@pytest.mark.slow
def test_the_levers_of_a_device_are_measured_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device.compare("cpu", ["nano"], [1, 3], 5, 1, tmp_path)
    rows = [
        line.split("|")[2:-1] for line in capsys.readouterr().out.splitlines() if "nano" in line
    ]
    assert [(row[1].strip(), int(row[0])) for row in rows] == [
        (lever, windows) for lever in device.LEVERS for windows in (1, 3)
    ]
    assert all(float(row[2]) > 0 for row in rows), rows


def test_the_floor_of_a_device_is_bound_by_memory_or_by_arithmetic() -> None:
    shape = checkpoints.SHAPES["medium"]
    slow_memory = device.DeviceRates(products=4e14, copied_bytes=1e12, item_bytes=2)
    fast_memory = device.DeviceRates(products=4e14, copied_bytes=3e12, item_bytes=2)
    assert slow_memory.floor_s(shape, 16, 100) > fast_memory.floor_s(shape, 16, 100)
    encoder = fast_memory.floor_s(shape, 16, 0)
    assert encoder == pytest.approx(16 * fast_memory.floor_s(shape, 1, 0))
    steps = fast_memory.floor_s(shape, 16, 100) - encoder
    assert steps < 16 * (fast_memory.floor_s(shape, 1, 100) - encoder / 16)
