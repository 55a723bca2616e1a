"""A real backend with the embedded model, for clients of other hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..servers import Process, backend_process, free_port
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
    port = str(wyoming_port)
    with backend_process(folder, embedded_llm.url, WYOMING_PORT=port) as process:
        yield process


@pytest.fixture(scope="session")
def node() -> Path:
    """Folder to run the Node clients in."""
    return kit.node_clients(least=20)


@pytest.fixture(scope="session")
def heavy_python() -> Path:
    """Python with the clients that are not in `make setup`."""
    return kit.python_clients()
