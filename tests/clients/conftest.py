"""A real backend with the embedded model, for clients of other hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Process, free_port
from . import kit


@pytest.fixture(scope="session")
def wyoming_port() -> int:
    """Where `backend` speaks Wyoming."""
    return free_port()


@pytest.fixture(scope="session")
def backend(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process, wyoming_port: int
) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("backend")
    port = free_port()
    environment = {
        "BACKEND_PORT": str(port),
        "WYOMING_PORT": str(wyoming_port),
        "DATA_DIR": str(folder),
        "LLM_ENDPOINT": embedded_llm.url,
        "MIN_FREE_BYTES": "0",
    }
    url = f"http://127.0.0.1:{port}"
    process = Process("stenograf.backend", environment, url, folder / "backend.log")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def node() -> Path:
    """Folder to run the Node clients in."""
    return kit.node_clients(least=20)


@pytest.fixture(scope="session")
def heavy_python() -> Path:
    """Python with the clients that are not in `make setup`."""
    return kit.python_clients()
