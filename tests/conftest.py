"""The house: the real services as processes on free ports, for tests at the front door."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED_MODEL = ROOT / "data" / "models" / "whisper-demo-ru"
SAMPLES = ROOT / "data" / "samples"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Process:
    """A service as a process; `restart` keeps its port and its data."""

    module: str
    environment: dict[str, str]
    url: str
    log: Path
    ready_s: float = 90.0
    popen: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start and wait until `/ready` says 200; fails with the end of the log."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
        }
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env=environment | self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + self.ready_s
        while time.monotonic() < deadline and self.popen.poll() is None:
            try:
                if requests.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-3000:]
        self.stop()
        pytest.fail(f"{self.module} did not become ready:\n{tail}")

    def kill(self) -> None:
        """kill -9."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not listen."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass(frozen=True)
class House:
    """The model service with the embedded model, and a backend before it."""

    llm: Process
    backend: Process

    @property
    def url(self) -> str:
        """Root of the backend."""
        return self.backend.url


@pytest.fixture(scope="session")
def embedded_llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The model service with the embedded model; one for the whole run, it keeps no state."""
    folder = tmp_path_factory.mktemp("llm")
    port = free_port()
    environment = {
        "LLM_PORT": str(port),
        "LOCAL_LLM_MODEL": str(EMBEDDED_MODEL),
        "DATA_DIR": str(folder),
        "DEVICE": "cpu",
    }
    process = Process("stenograf.llm", environment, f"http://127.0.0.1:{port}", folder / "llm.log")
    process.start()
    yield process
    process.stop()


def _backend(folder: Path, llm: Process, environment: dict[str, str]) -> Process:
    port = free_port()
    settings = {
        "BACKEND_PORT": str(port),
        "DATA_DIR": str(folder),
        "LLM_ENDPOINT": llm.url,
        "MIN_FREE_BYTES": "0",
    }
    return Process(
        "stenograf.backend",
        settings | environment,
        f"http://127.0.0.1:{port}",
        folder / "backend.log",
    )


@pytest.fixture
def make_backend(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process
) -> Iterator[Callable[..., Process]]:
    """Start a backend with an empty data folder: `make_backend(WORKERS="2")`."""
    started: list[Process] = []

    def make(**environment: str) -> Process:
        process = _backend(tmp_path_factory.mktemp("backend"), embedded_llm, environment)
        process.start()
        started.append(process)
        return process

    yield make
    for process in started:
        process.stop()


@pytest.fixture
def house(embedded_llm: Process, make_backend: Callable[..., Process]) -> House:
    """Both services, ready."""
    return House(embedded_llm, make_backend())


@pytest.fixture(scope="session")
def shared_house(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process
) -> Iterator[House]:
    """Both services once for the whole run, for clients that only ask and look at the answer."""
    backend = _backend(tmp_path_factory.mktemp("backend"), embedded_llm, {})
    backend.start()
    yield House(embedded_llm, backend)
    backend.stop()
