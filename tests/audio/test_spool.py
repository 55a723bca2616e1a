"""The decoded recording on disk."""

import os
from pathlib import Path

import numpy as np
import pytest

from stenograf.audio.spool import Spool, SpoolWriter


@pytest.fixture
def waveform() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(3).normal(size=10_000).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path, waveform: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Path:
    path = tmp_path / "spool"
    with path.open("wb") as file:
        writer = SpoolWriter(file.fileno())
        for block in np.split(waveform, [0, 1, 5000]):
            writer.append(block)
        assert writer.n_samples == len(waveform)
    return path


def test_what_is_written_is_read(path: Path, waveform: np.ndarray) -> None:  # type: ignore[type-arg]
    assert np.array_equal(np.fromfile(path, "<f4"), waveform)
    with Spool(path) as spool:
        assert spool.n_samples == len(waveform)
        assert np.array_equal(spool.read(123, 4567), waveform[123:4567])
        assert np.array_equal(np.concatenate(list(spool.blocks(777))), waveform)
        assert spool.read(0, 3).dtype == np.float32


def test_outside_of_the_file_is_left_out(path: Path, waveform: np.ndarray) -> None:  # type: ignore[type-arg]
    with Spool(path) as spool:
        assert np.array_equal(spool.read(-5, 3), waveform[:3])
        assert np.array_equal(spool.read(9_998, 20_000), waveform[-2:])
        assert len(spool.read(10, 5)) == len(spool.read(20_000, 20_005)) == 0


def test_an_empty_spool(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with Spool(tmp_path / "empty") as spool:
        assert (spool.n_samples, list(spool.blocks())) == (0, [])


def test_half_a_sample_is_no_spool(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"12345")
    with pytest.raises(ValueError, match="whole samples"):
        Spool(tmp_path / "broken")


def test_a_spool_that_shrinks_is_noticed(path: Path) -> None:
    with Spool(path) as spool:
        os.truncate(path, 100)
        with pytest.raises(OSError, match="early"):
            spool.read(0, 1000)
