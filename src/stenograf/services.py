"""The model service and the backend as child processes, for the demo and the benchmarks."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

import stenograf
from stenograf.lifeline import tied

_STOP_S = 10.0
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")


class ServiceFailed(Exception):
    """A service ended or never became ready; the message carries the end of its log."""


@dataclass(frozen=True)
class Service:
    """One running child process."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until `/ready` says 200. Raises ServiceFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.05)
        state = "did not become ready" if self.process.poll() is None else "ended"
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise ServiceFailed(f"{self.name} {state}; the end of its log:\n{tail}")


@dataclass(frozen=True)
class Services:
    """Both, ready for work."""

    llm: Service
    backend: Service


@contextmanager
def running(
    llm: Mapping[str, str], backend: Mapping[str, str] | None = None, *, timeout_s: float = 90.0
) -> Iterator[Services]:
    """Start both with these settings on free ports and an empty data folder; stop them at the end.

    A given `LLM_PORT` is kept. Settings of the caller's environment and of any `.env` do not reach
    them, and they end when this process does, however it ends. Raises ServiceFailed.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stenograf-"))
        home = Path(folder)
        llm_port, backend_port = stack.enter_context(held_ports(2))
        llm_port = int(llm.get("LLM_PORT", llm_port))
        llm_url, backend_url = (f"http://127.0.0.1:{p}" for p in (llm_port, backend_port))
        shared = {"DATA_DIR": folder}
        model = shared | {"LLM_PORT": str(llm_port)} | dict(llm)
        front = shared | {"BACKEND_PORT": str(backend_port), "LLM_ENDPOINT": llm_url}
        front |= dict(backend or {})
        services = Services(
            llm=stack.enter_context(_child("llm", model, llm_url, home)),
            backend=stack.enter_context(_child("backend", front, backend_url, home)),
        )
        services.llm.wait_ready(timeout_s)
        services.backend.wait_ready(timeout_s)
        yield services


@contextmanager
def _child(name: str, settings: Mapping[str, str], url: str, home: Path) -> Iterator[Service]:
    log = home / f"{name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            tied(f"stenograf.{name}"),
            env=_clean_environment() | dict(settings),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
        )
    try:
        yield Service(name, url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Free ports of the loopback interface that nobody gets by chance while the block runs.

    A server may listen on them, as every one does that takes addresses over (SO_REUSEADDR).
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
            # Only now: two that say so before may get the same port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield [int(sock.getsockname()[1]) for sock in sockets]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now."""
    with held_ports(count) as ports:
        return ports


def _clean_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    source = str(Path(stenograf.__file__).resolve().parents[1])
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [source, kept.get("PYTHONPATH")]))}
