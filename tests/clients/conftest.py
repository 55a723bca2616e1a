"""A real backend with the embedded model, for clients of other hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Process, free_port
from . import kit


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("backend")
    port = free_port()
    environment = {
        "BACKEND_PORT": str(port),
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
