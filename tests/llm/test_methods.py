"""Monitors ask with HEAD."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from stenograf.llm.app import create_app
from stenograf.settings import LlmSettings


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """The service before its model loads."""
    settings = LlmSettings(_env_file=None, engine="fake", data_dir=tmp_path)  # type: ignore[call-arg]
    return TestClient(create_app(settings))


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/ready", 503), ("/no", 404)])
def test_head_is_answered_as_get_is(client: TestClient, path: str, status: int) -> None:
    assert client.head(path).status_code == client.get(path).status_code == status


def test_wrong_method_is_told_the_right_one(client: TestClient) -> None:
    answer = client.get("/v1/audio/transcriptions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
