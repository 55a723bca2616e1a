"""The model service's one key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from stenograf.llm.app import create_app
from stenograf.settings import LlmSettings

KEY = "the key of the model service"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("llm")
    settings = LlmSettings(_env_file=None, data_dir=folder, engine="fake", llm_api_key=KEY)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"x-api-key": f" {KEY} "}]
)
def test_the_key_opens_it(locked: TestClient, headers: dict[str, str]) -> None:
    assert locked.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-API-Key": ""},
        {"X-API-Key": "ы".encode()},
        {"X-API-Key": "x" * 60_000},
    ],
)
def test_nothing_else_does(locked: TestClient, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/inference/"), ("GET", "/nothing")):
        answer = locked.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["code"] == "unauthorized"
        assert KEY not in answer.text


def test_probes_need_none(locked: TestClient) -> None:
    assert locked.get("/health").status_code == 200
    assert locked.get("/ready").status_code != 401
