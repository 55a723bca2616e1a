"""The services as processes of their own on free ports, for tests at the front door."""

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
import requests

from stenograf.lifeline import tied
from stenograf.services import held_ports

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED_MODEL = ROOT / "data" / "models" / "whisper-demo-ru"
SAMPLES = ROOT / "data" / "samples"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")
_HELD = ExitStack()
atexit.register(_HELD.close)


def free_port() -> int:
    """A port nobody listens on, and nobody gets but who is told it, until this process ends."""
    return _HELD.enter_context(held_ports(1))[0]


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """Children started in the block hear Ctrl-C, which a shell's background job ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def kept_environment() -> dict[str, str]:
    """What a program needs to run; settings of the machine's owner stay out of the tests."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


@dataclass
class Process:
    """A service as a process, as a context manager too; `start` anew keeps its port and data."""

    module: str
    environment: dict[str, str]
    url: str
    log: Path
    ready_path: str = "/ready"
    ready_s: float = 90.0
    popen: subprocess.Popen[bytes] = field(init=False)

    def launch(self) -> None:
        """Start and do not wait."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                tied(self.module),
                env=kept_environment() | self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Start and wait until it is ready; fails with the end of the log."""
        self.launch()
        deadline = time.monotonic() + self.ready_s
        while time.monotonic() < deadline and self.popen.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(self.url + self.ready_path, timeout=30).ok:
                    return
            time.sleep(0.05)
        self.stop()
        tail = self.log.read_text(errors="replace")[-3000:]
        pytest.fail(f"{self.module} did not become ready:\n{tail}")

    def kill(self) -> None:
        """kill -9."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL for what does not listen; the exit status."""
        self.popen.terminate()
        try:
            return self.popen.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.popen.returncode

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()


@dataclass(frozen=True)
class House:
    """The model service with the embedded model, and a backend before it."""

    llm: Process
    backend: Process

    @property
    def url(self) -> str:
        """Root of the backend."""
        return self.backend.url


@dataclass
class _Confined(Process):
    files: int = 400

    def launch(self) -> None:
        command = f'ulimit -n {self.files} && exec "$@"'
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                ["bash", "-c", command, "bash", *tied(self.module)],
                env=kept_environment() | self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def confined(process: Process) -> Process:
    """The same service, not started, that may have few files open."""
    return _Confined(process.module, process.environment, process.url, process.log)


def llm_process(folder: Path, **environment: str) -> Process:
    """The model service with the embedded model, not started; its data and log are in `folder`.

    `ENGINE="fake"` takes the recognizer that needs no weights.
    """
    fixed = {"DATA_DIR": str(folder), "LOCAL_LLM_MODEL": str(EMBEDDED_MODEL), "DEVICE": "cpu"}
    return _process("llm", "LLM_PORT", folder, fixed | environment)


def backend_process(folder: Path, llm_url: str, **environment: str) -> Process:
    """The backend before the model service, not started; its data and log are in `folder`."""
    fixed = {"DATA_DIR": str(folder), "LLM_ENDPOINT": llm_url, "MIN_FREE_BYTES": "0"}
    return _process("backend", "BACKEND_PORT", folder, fixed | environment)


def frontend_process(folder: Path, backend_url: str, **environment: str) -> Process:
    """The page before the backend, not started."""
    fixed = {"BACKEND_ENDPOINT": backend_url}
    process = _process("frontend", "FRONTEND_PORT", folder, fixed | environment)
    process.ready_path = "/_stcore/health"
    return process


def _process(name: str, port_name: str, folder: Path, environment: dict[str, str]) -> Process:
    given = {port_name: str(free_port())} | environment
    url = f"http://127.0.0.1:{given[port_name]}"
    return Process(f"stenograf.{name}", given, url, folder / f"{name}.log")
