"""`stenograf models`: fetched from a hub, checked, named for carrying along."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.servers import EMBEDDED_MODEL

from stenograf.contract.errors import StenografError
from stenograf.models import SUMS, pull, verify

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "whisper"}',
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4096,
    "flax_model.msgpack": b"not wanted",
}


class Hub:
    """The two routes of a Hugging Face hub that a download needs."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                path = self.path.split("?")[0]
                outer.asked.append(path)
                if path == "/api/models/someone/tiny":
                    content = json.dumps(outer.description()).encode()
                elif path.startswith("/someone/tiny/resolve/"):
                    content = FILES[path.rsplit("/", 1)[-1]]
                else:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def description() -> dict[str, object]:
        siblings = [{"rfilename": name, "size": len(body)} for name, body in FILES.items()]
        return {"id": "someone/tiny", "sha": COMMIT, "siblings": siblings}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,))
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


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
        timeout=60,
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
