"""kill -9 of the backend at random moments of uploads and recognition.

Nothing is lost, and no window is recognized again once it was stored.
"""

import contextlib
import hashlib
import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from stenograf.contract.pcm import wav_bytes

from ..backend.desk import until
from ..backend.model_server import Asked, ModelServer, Reply, heard
from ..servers import Process, backend_process

OPTIONS = {"cut": {"vad": False, "chunk_size_s": 1}, "normalize": {"method": "as is"}}
SECONDS = 12
PIECE = 64 * 1024


def recording(seed: int) -> bytes:
    """Noise as WAV; every second of it differs from every other."""
    noise = np.random.default_rng(seed).normal(0, 0.05, SECONDS * 16_000)
    return wav_bytes(noise.astype(np.float32))


class Gate:
    """Lets the model server answer so many windows and no more, until it is raised.

    The kills then meet the work where they should, however slow the machine is.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._allowed = self._answered = self._round = 0

    def answer(self, asked: Asked) -> Reply:
        with self._moved:
            began = self._round
            self._moved.wait_for(lambda: self._answered < self._allowed or self._round != began)
            if self._round != began:
                return Reply(hang_up=True)
            self._answered += 1
            self._moved.notify_all()
        return Reply(body=heard(asked, f" {name_of(asked)}"))

    def pass_through(self, count: int) -> None:
        """Answer `count` windows more; returns when they are."""
        with self._moved:
            self._allowed += count
            self._moved.notify_all()
            assert self._moved.wait_for(lambda: self._answered == self._allowed, 60)

    def backend_died(self) -> None:
        """Who still waits is dead."""
        with self._moved:
            self._round += 1
            self._moved.notify_all()

    def open(self) -> None:
        with self._moved:
            self._allowed = 10**9
            self._moved.notify_all()


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def make_backend(tmp_path: Path, model: ModelServer) -> Iterator[Callable[..., Process]]:
    """A backend process before the fake model server; the same data folder every time."""
    with contextlib.ExitStack() as stack:

        def make(**environment: str) -> Process:
            process = backend_process(tmp_path, model.url, **environment)
            return stack.enter_context(process)

        yield make


def name_of(asked: Asked) -> str:
    return hashlib.sha256(asked.wav).hexdigest()[:16]


def stored_names(database: Path) -> set[str]:
    """Texts of the windows that are in the database, which are names of their sounds."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT result FROM windows").fetchall()
    return {json.loads(result)["segments"][0]["text"].strip() for (result,) in rows}


class Person:
    """Uploads a recording in pieces and asks for its job, however often the service dies."""

    def __init__(self, url: str, content: bytes) -> None:
        self.url, self.content = url, content
        self.job_id = ""
        self._location = ""
        self._thread = threading.Thread(target=self._insist, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the upload never ended"

    def _insist(self) -> None:
        while not self.job_id:
            try:
                self._go_on()
            except requests.RequestException:
                time.sleep(0.05)

    def _go_on(self) -> None:
        if not self._location:
            answer = self._call("POST", "/files", {"Upload-Length": str(len(self.content))})
            self._location = answer.headers["Location"]
        offset = int(self._call("HEAD", self._location).headers["Upload-Offset"])
        while offset < len(self.content):
            headers = {
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
            }
            piece = self.content[offset : offset + PIECE]
            answer = self._call("PATCH", self._location, headers, piece)
            offset = int(answer.headers["Upload-Offset"])
            time.sleep(0.02)
        body = {"upload_id": self._location.rsplit("/", 1)[1], "options": OPTIONS}
        answer = requests.post(f"{self.url}/v1/jobs", json=body, timeout=30)
        answer.raise_for_status()
        self.job_id = answer.json()["id"]

    def _call(
        self, method: str, path: str, headers: Any = None, body: bytes | None = None
    ) -> requests.Response:
        url = path if path.startswith("http") else self.url + path
        headers = {"Tus-Resumable": "1.0.0", **(headers or {})}
        answer = requests.request(method, url, headers=headers, data=body, timeout=30)
        answer.raise_for_status()
        return answer


@pytest.mark.parametrize(
    "kills", [5, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)
def test_nothing_is_lost_and_nothing_done_twice(
    model: ModelServer, make_backend: Callable[..., Process], kills: int
) -> None:
    rng = random.Random(kills)
    gate = Gate()
    model.answer = gate.answer
    backend = make_backend(WORKERS="2", WINDOWS_IN_FLIGHT="2")
    database = Path(backend.environment["DATA_DIR"]) / "stenograf.db"
    people = [Person(backend.url, recording(seed)) for seed in range(kills)]
    for number in range(kills):
        if number >= kills // 3:  # the first kills meet uploads, the others recognition too
            gate.pass_through(rng.randint(1, SECONDS // 2))
        time.sleep(rng.uniform(0.0, 0.3))
        if number == kills - 1:
            until(lambda: stored_names(database))
        backend.kill()
        gate.backend_died()
        before = len(model.asked)
        stored = stored_names(database)
        backend.start()
        time.sleep(0.2)
        again = [name_of(asked) for asked in model.asked[before:]]
        assert stored.isdisjoint(again)
    assert 0 < len(stored) < kills * SECONDS
    gate.open()
    for person in people:
        person.wait(60)
        assert finished(backend.url, person.job_id)["status"] == "completed"
        audio = requests.get(f"{backend.url}/v1/jobs/{person.job_id}/audio", timeout=30).content
        assert hashlib.sha256(audio).digest() == hashlib.sha256(person.content).digest()
        names = transcript(backend.url, person.job_id)
        assert b"".join(sounds(model)[name] for name in names) == person.content[44:]
    after = [name_of(asked) for asked in model.asked]
    assert set(after) == stored_names(database)


def test_a_polite_stop_is_quick_and_the_next_start_goes_on(
    model: ModelServer, make_backend: Callable[..., Process]
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked, f" {name_of(asked)}"), delay_s=1.0)
    backend = make_backend()
    person = Person(backend.url, recording(1))
    person.wait(60)
    stream = requests.get(f"{backend.url}/v1/jobs/{person.job_id}/events", stream=True, timeout=60)
    until(lambda: len(model.asked) >= 4)
    in_flight = len(model.asked)
    began = time.monotonic()
    backend.popen.terminate()
    assert backend.popen.wait(30) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 25
    assert "event: done" not in "".join(line.decode() for line in stream.iter_lines())
    database = Path(backend.environment["DATA_DIR"]) / "stenograf.db"
    assert len(stored_names(database)) >= in_flight, "windows at the model are waited for"
    model.answer = lambda asked: Reply(body=heard(asked, f" {name_of(asked)}"))
    backend.start()
    view = finished(backend.url, person.job_id)
    assert view["status"] == "completed"
    assert len(model.asked) == view["progress"]["windows_total"]


def sounds(model: ModelServer) -> dict[str, bytes]:
    """The samples of every window that was asked for, by name."""
    return {name_of(asked): asked.wav[44:] for asked in model.asked}


def finished(url: str, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while True:
        view: dict[str, Any] = requests.get(f"{url}/v1/jobs/{job_id}", timeout=30).json()
        if view["status"] in ("completed", "failed", "cancelled"):
            return view
        assert time.monotonic() < deadline, view
        time.sleep(0.1)


def transcript(url: str, job_id: str) -> list[str]:
    answer = requests.get(f"{url}/v1/jobs/{job_id}/transcript?format=json", timeout=30)
    return str(answer.json()["text"]).split()
