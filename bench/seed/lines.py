"""The running services of either way, with relays before them that count bytes."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import requests

from bench.seed.gauges import Relay, relay
from stenograf.services import free_ports, running


@dataclass(frozen=True)
class Line:
    """Where to send, what to watch."""

    way: str
    url: str
    pids: Mapping[str, int]
    relays: Mapping[str, Relay]


@contextmanager
def our_line() -> Iterator[Line]:
    """Our backend and model service."""
    with ExitStack() as stack:
        (llm_port,) = free_ports(1)
        to_model = stack.enter_context(relay(llm_port))
        settings = {"ENGINE": "fake", "LLM_PORT": str(llm_port)}
        services = stack.enter_context(running(settings, {"LLM_ENDPOINT": to_model.url}))
        to_backend = stack.enter_context(relay(int(services.backend.url.rsplit(":", 1)[1])))
        pids = {"backend": services.backend.process.pid, "model": services.llm.process.pid}
        yield Line("our", to_backend.url, pids, _hops(to_backend, to_model))


@contextmanager
def seed_line() -> Iterator[Line]:
    """The first version's backend and model service."""
    with ExitStack() as stack:
        model_port, backend_port = free_ports(2)
        to_model = stack.enter_context(relay(model_port))
        model = stack.enter_context(_role("model", model_port))
        backend = stack.enter_context(_role("backend", backend_port, "--model-url", to_model.url))
        to_backend = stack.enter_context(relay(backend_port))
        pids = {"backend": backend.pid, "model": model.pid}
        yield Line("seed", to_backend.url, pids, _hops(to_backend, to_model))


def _hops(to_backend: Relay, to_model: Relay) -> dict[str, Relay]:
    return {"front-backend": to_backend, "backend-model": to_model}


@contextmanager
def _role(role: str, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.seed.reproduction", role, str(port), *more]
    process = subprocess.Popen(command)
    try:
        _wait_ready(f"http://127.0.0.1:{port}/ready", process)
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready")
