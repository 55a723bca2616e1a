"""A fake backend, the page before it as a process, and recordings to drop."""

import io
import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests

from stenograf.contract.pcm import SAMPLE_RATE

from .fake_backend import FakeBackend, running_backend

PAGE_READY_S = 60.0


def wav_file(seconds: float, *, amplitude: float = 0.3) -> bytes:
    """A 16-bit WAV with a tone that swells and fades; silent at amplitude 0."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = amplitude * np.sin(2 * np.pi * 220 * time_s) * np.abs(np.sin(time_s))
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((tone * 32767).astype("<i2").tobytes())
    return out.getvalue()


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    with running_backend() as running:
        yield running


@dataclass(frozen=True)
class RunningPage:
    url: str
    backend: FakeBackend


@contextmanager
def start_page(folder: Path, backend_url: str, port: int) -> Iterator[str]:
    """`python -m stenograf.frontend` before `backend_url` until the block ends; its address."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"FRONTEND_PORT": str(port), "BACKEND_ENDPOINT": backend_url}
    with (folder / "page.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stenograf.frontend"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, folder / "page.log")
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def page_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    """The page on a free port, with a fake backend behind it."""
    folder = tmp_path_factory.mktemp("page")
    with running_backend() as running, start_page(folder, running.url, running.free_port()) as url:
        yield RunningPage(url, running)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PAGE_READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/_stcore/health", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"the page did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on PATH: the page cannot be driven in a browser")
    return found
