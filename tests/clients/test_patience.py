"""Clients that give up on a silent server are not lost on a slow model."""

import json
import re
from pathlib import Path

import pytest

from ..conftest import Process, free_port
from .kit import RECORDING, run

MODEL_TAKES_S = 315
UNDICI_GIVES_UP_S = 300


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Process:
    folder = tmp_path_factory.mktemp("slow-llm")
    port = free_port()
    environment = {
        "LLM_PORT": str(port),
        "ENGINE": "fake",
        "FAKE_DELAY_S": str(MODEL_TAKES_S),
        "DATA_DIR": str(folder),
    }
    return Process("stenograf.llm", environment, f"http://127.0.0.1:{port}", folder / "llm.log")


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.timeout(600)
def test_node_waits_longer_than_its_300_seconds(
    slow_model: Process, tmp_path: Path, node: Path
) -> None:
    port = free_port()
    environment = {
        "BACKEND_PORT": str(port),
        "DATA_DIR": str(tmp_path),
        "LLM_ENDPOINT": slow_model.url,
        "MIN_FREE_BYTES": "0",
    }
    url = f"http://127.0.0.1:{port}"
    backend = Process("stenograf.backend", environment, url, tmp_path / "backend.log")
    slow_model.start()
    try:
        backend.start()
        command = ["node", "patience.mjs", url, RECORDING]
        answers = json.loads(run(command, cwd=node, timeout_s=MODEL_TAKES_S + 120))
        asked = backend.log.read_text().count("POST /v1/audio/transcriptions")
    finally:
        backend.stop()
        slow_model.stop()
    print(answers)
    fetched, sdk = answers["fetch"], answers["sdk"]
    assert fetched["status"] == 200
    assert fetched["headers_s"] < 60
    assert min(fetched["answer_s"], sdk["answer_s"]) > UNDICI_GIVES_UP_S
    assert fetched["text"] == sdk["text"] != ""
    assert asked == 2, "each client asked once"
    recognitions = re.findall(r"POST /v1/audio/transcriptions", slow_model.log.read_text())
    assert len(recognitions) == 1, "one recording is one recognition"
