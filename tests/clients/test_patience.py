"""Clients that give up on a silent server are not lost on a slow model."""

import json
import re
from pathlib import Path

import pytest

from ..servers import backend_process, llm_process
from .kit import RECORDING, run

MODEL_TAKES_S = 315
UNDICI_GIVES_UP_S = 300


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.timeout(600)
def test_node_waits_longer_than_its_300_seconds(tmp_path: Path, node: Path) -> None:
    slow_model = llm_process(tmp_path, ENGINE="fake", FAKE_DELAY_S=str(MODEL_TAKES_S))
    with slow_model, backend_process(tmp_path, slow_model.url) as backend:
        command = ["node", "patience.mjs", backend.url, RECORDING]
        answers = json.loads(run(command, cwd=node, timeout_s=MODEL_TAKES_S + 120))
        asked = backend.log.read_text().count("POST /v1/audio/transcriptions")
    print(answers)
    fetched, sdk = answers["fetch"], answers["sdk"]
    assert fetched["status"] == 200
    assert fetched["headers_s"] < 60
    assert min(fetched["answer_s"], sdk["answer_s"]) > UNDICI_GIVES_UP_S
    assert fetched["text"] == sdk["text"] != ""
    assert asked == 2, "each client asked once"
    recognitions = re.findall(r"POST /v1/audio/transcriptions", slow_model.log.read_text())
    assert len(recognitions) == 1, "one recording is one recognition"
