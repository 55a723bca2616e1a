"""A model from the hub: a stand-in hub on this machine, then no network at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.model_hub import Hub

from stenograf.contract.errors import ModelNotFound, Unavailable
from stenograf.llm.whisper.hub import locate

NAME = "someone/whisper-small-xx"
FILES = {
    "config.json": b'{"model_type": "whisper"}',
    "vocab.json": b"{}",
    "merges.txt": b"#version: 0.2\n",
    "pytorch_model.bin": bytes(range(256)) * 4096,
    "README.md": b"read me",
    "optimizer.pt": bytes(1000),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(NAME, FILES) as hub:
        yield hub


def find(hub: Hub, cache: Path, name: str = NAME) -> tuple[Path, list[tuple[float, str]]]:
    reports: list[tuple[float, str]] = []
    folder = locate(name, cache, lambda *report: reports.append(report), hub.url)
    return folder, reports


def test_the_first_start_fetches_what_is_needed_and_shows_progress(
    hub: Hub, tmp_path: Path
) -> None:
    folder, reports = find(hub, tmp_path)
    assert {path.name for path in folder.iterdir()} == set(FILES) - {"README.md", "optimizer.pt"}
    assert (folder / "pytorch_model.bin").read_bytes() == FILES["pytorch_model.bin"]
    progress = [part for part, _ in reports]
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(0.9)
    assert "1 of 1 MB" in reports[-1][1]


def test_later_starts_make_no_request(hub: Hub, tmp_path: Path) -> None:
    first, _ = find(hub, tmp_path)
    hub.asked.clear()
    again, reports = find(hub, tmp_path)
    assert (again, reports, hub.asked) == (first, [], [])


def test_an_interrupted_download_goes_on(hub: Hub, tmp_path: Path) -> None:
    folder, _ = find(hub, tmp_path)
    (folder / "pytorch_model.bin").unlink()
    hub.asked.clear()
    again, _ = find(hub, tmp_path)
    assert (again / "pytorch_model.bin").read_bytes() == FILES["pytorch_model.bin"]
    assert hub.asked


def test_safetensors_are_preferred(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = b"safe"
    folder, _ = find(hub, tmp_path)
    assert (folder / "model.safetensors").exists()
    assert not (folder / "pytorch_model.bin").exists()


def test_a_model_without_weights_for_us(hub: Hub, tmp_path: Path) -> None:
    del hub.files["pytorch_model.bin"]
    with pytest.raises(ModelNotFound, match="no PyTorch or safetensors weights"):
        find(hub, tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (404, Unavailable, "404"),
        (403, ModelNotFound, "terms"),
        (500, Unavailable, "could not be fetched"),
    ],
)
def test_a_hub_that_refuses(
    hub: Hub, tmp_path: Path, status: int, error: type[Exception], says: str
) -> None:
    hub.status = status
    with pytest.raises(error, match=says):
        find(hub, tmp_path)


def test_an_unknown_model(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="has no model 'nobody/nothing'"):
        find(hub, tmp_path, "nobody/nothing")


def test_no_network_and_no_copy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=NAME) as refused:
        locate(NAME, tmp_path, lambda *_: None, "http://127.0.0.1:9")
    assert "LOCAL_LLM_MODEL" in str(refused.value.hint)


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "data/models/nothing", "a/b/c", ""])
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="no model folder"):
        locate(name, tmp_path, lambda *_: None, "http://127.0.0.1:9")


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(str(tmp_path), tmp_path / "cache", lambda *_: None) == tmp_path
