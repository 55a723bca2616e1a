"""What tells one model's weights from another's."""

import re
from pathlib import Path

import pytest
import requests
from tests.servers import Process

from stenograf.llm.fingerprint import fingerprint

MIB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"d_model": 64}')
    (tmp_path / "model.safetensors").write_bytes(bytes(9 * MIB))
    return tmp_path


def test_a_copy_has_the_same_fingerprint(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).symlink_to(folder / name)
    (copy / "README.md").write_text("notes")
    assert fingerprint(copy) == fingerprint(folder)


@pytest.mark.parametrize("offset", [0, 9 * MIB - 1])
def test_other_weights_of_the_same_size_differ(folder: Path, offset: int) -> None:
    before = fingerprint(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(offset)
        file.write(b"\x01")
    assert fingerprint(folder) != before


def test_other_settings_of_decoding_differ(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "config.json").write_text('{"d_model": 65}')
    assert fingerprint(folder) != before


def test_a_longer_file_differs(folder: Path) -> None:
    before = fingerprint(folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\x00")
    assert fingerprint(folder) != before


def test_the_service_tells_it(embedded_llm: Process) -> None:
    (model,) = requests.get(f"{embedded_llm.url}/v1/models", timeout=60).json()["data"]
    assert re.fullmatch("[0-9a-f]{32}", model["fingerprint"])
