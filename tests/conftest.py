"""The house: the real services as processes on free ports, for tests at the front door."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from .backend.chat_server import ChatServer
from .servers import House, Process, backend_process, llm_process

# The same examples every time, however slow the machine is: a run is red because of the code that
# it tries. `pytest --hypothesis-profile=searching` looks for other examples.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("searching", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def embedded_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The model service with the embedded model; one for the whole run, it keeps no state."""
    with llm_process(tmp_path_factory.mktemp("llm")) as process:
        yield process


@pytest.fixture
def make_backend(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process
) -> Iterator[Callable[..., Process]]:
    """Start a backend with an empty data folder: `make_backend(WORKERS="2")`."""
    with ExitStack() as stack:

        def make(**environment: str) -> Process:
            folder = tmp_path_factory.mktemp("backend")
            process = backend_process(folder, embedded_llm.url, **environment)
            return stack.enter_context(process)

        yield make


@pytest.fixture
def house(embedded_llm: Process, make_backend: Callable[..., Process]) -> House:
    """Both services, ready."""
    return House(embedded_llm, make_backend())


@pytest.fixture(scope="session")
def shared_house(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process
) -> Iterator[House]:
    """Both services once for the whole run, for clients that only ask and look at the answer."""
    with backend_process(tmp_path_factory.mktemp("backend"), embedded_llm.url) as backend:
        yield House(embedded_llm, backend)


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    """A language model's server that does as it is told."""
    with ChatServer() as server:
        yield server
