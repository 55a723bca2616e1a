"""`stenograf models`: fetched from a hub, checked, named for carrying along."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.model_hub import Hub
from tests.servers import EMBEDDED_MODEL

from stenograf.contract.errors import StenografError
from stenograf.models import SUMS, pull, verify

FILES = {
    "config.json": b'{"model_type": "whisper"}',
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4096,
    "flax_model.msgpack": b"not wanted",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("someone/tiny", FILES) as hub:
        yield hub


@pytest.fixture
def pulled(hub: Hub, tmp_path: Path) -> Path:
    return pull("someone/tiny", tmp_path / "models", hub.url)


def test_pulled_folder_is_plain_and_whole(pulled: Path) -> None:
    assert {path.name for path in pulled.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        SUMS,
    }
    assert not any(path.is_symlink() for path in pulled.iterdir())
    assert (pulled / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert [path.name for path in pulled.parent.iterdir()] == ["tiny"]
    assert verify(pulled).whole
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=pulled, check=True)


def test_second_pull_asks_nobody(hub: Hub, pulled: Path) -> None:
    hub.asked.clear()
    assert pull("someone/tiny", pulled.parent, hub.url) == pulled
    assert hub.asked == []


def test_every_kind_of_damage_is_named(pulled: Path) -> None:
    (pulled / "config.json").write_text("{}")
    (pulled / "tokenizer.json").unlink()
    (pulled / "extra.bin").write_text("")
    verdict = verify(pulled)
    assert not verdict.whole
    assert (verdict.changed, verdict.missing, verdict.unlisted) == (
        ("config.json",),
        ("tokenizer.json",),
        ("extra.bin",),
    )
    assert verdict.good == ("model.safetensors",)


def test_damaged_folder_is_not_pulled_over(hub: Hub, pulled: Path) -> None:
    (pulled / "config.json").write_text("mine")
    with pytest.raises(StenografError, match="not as it was pulled"):
        pull("someone/tiny", pulled.parent, hub.url)
    assert (pulled / "config.json").read_text() == "mine"


def test_folder_without_checksums_is_not_called_whole(tmp_path: Path) -> None:
    with pytest.raises(StenografError, match=SUMS):
        verify(tmp_path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stenograf.models", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_command_line(pulled: Path) -> None:
    assert run("verify", str(pulled)).returncode == 0
    listed = run("list", "--folder", str(pulled.parent)).stdout
    assert listed == f"{pulled}  1 MB  with checksums\n"
    (pulled / "config.json").unlink()
    damaged = run("verify", str(pulled))
    assert damaged.returncode == 1
    assert damaged.stdout == f"missing: {pulled / 'config.json'}\n{pulled}: NOT whole\n"


def test_unreachable_hub_is_a_sentence(tmp_path: Path) -> None:
    failed = run(
        "pull", "someone/tiny", "--folder", str(tmp_path), "--endpoint", "http://127.0.0.1:9"
    )
    assert failed.returncode == 1
    assert "could not be fetched" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_converted_folder_is_a_model_and_whole(tmp_path: Path) -> None:
    done = run("convert", str(EMBEDDED_MODEL), "--folder", str(tmp_path), "--numbers", "float32")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "whisper-demo-ru-ct2-float32"
    assert f"LOCAL_LLM_MODEL={target}" in done.stdout
    assert {"model.bin", "tokenizer.json", "SHA256SUMS"} <= {f.name for f in target.iterdir()}
    assert run("verify", str(target)).returncode == 0
    again = run("convert", str(EMBEDDED_MODEL), "--folder", str(tmp_path), "--numbers", "float32")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    refused = run("convert", str(target), "--folder", str(tmp_path))
    assert "already" in refused.stderr
