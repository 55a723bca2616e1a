"""Two processes of the backend on one database and one data folder."""

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from ..servers import Process, backend_process
from ..waiting import all_at_once, until
from .desk import NO_VAD
from .model_server import Asked, ModelServer, Reply, heard
from .sounds import noise, wav

LEASE_S = 4.0
FINAL = ("completed", "failed", "cancelled")


class Gate:
    """The model, which answers nothing while it is closed."""

    def __init__(self, model: ModelServer) -> None:
        self.open = threading.Event()
        self._model = model
        model.answer = self._answer

    def _answer(self, asked: Asked) -> Reply:
        self.open.wait(120)
        return Reply(body=heard(asked))

    @property
    def asked(self) -> Counter[bytes]:
        """How often each window was asked for."""
        return Counter(each.wav for each in self._model.asked)


@pytest.fixture
def gate(model: ModelServer) -> Iterator[Gate]:
    gate = Gate(model)
    yield gate
    gate.open.set()


@pytest.fixture
def pair(tmp_path: Path, model: ModelServer) -> Iterator[tuple[Process, Process]]:
    """Both started at the same moment."""
    with ExitStack() as stack:
        processes = [
            backend_process(
                tmp_path,
                model.url,
                LEASE_S=str(LEASE_S),
                RETRY_SCALE="0",
                WORKERS="1",
                SHORT_WORKERS_S="0",
                WINDOWS_IN_FLIGHT="2",
            )
            for _ in range(2)
        ]
        for number, process in enumerate(processes):
            process.log = tmp_path / f"backend{number}.log"
            process.launch()
            stack.callback(process.stop)
        for process in processes:
            until(lambda process=process: ready(process), 90)
        yield processes[0], processes[1]


def ready(process: Process) -> bool:
    assert process.popen.poll() is None, process.log.read_text()
    with suppress(requests.ConnectionError):
        return requests.get(f"{process.url}/ready", timeout=60).ok
    return False


def submit(backend: Process, content: bytes) -> str:
    """A job's id."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content))}
    headers["Content-Type"] = "application/offset+octet-stream"
    made = requests.post(f"{backend.url}/files", content, headers=headers, timeout=60)
    assert made.status_code == 201, made.text
    body = {"upload_id": made.headers["Location"].rpartition("/")[2], "options": NO_VAD}
    answer = requests.post(f"{backend.url}/v1/jobs", json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def job(backend: Process, job_id: str) -> dict[str, Any]:
    """A job now."""
    view: dict[str, Any] = requests.get(f"{backend.url}/v1/jobs/{job_id}", timeout=60).json()
    return view


def completed(backend: Process, job_id: str) -> dict[str, Any]:
    """A job when it is over; it has to be successful."""
    until(lambda: job(backend, job_id)["status"] in FINAL, 120)
    view = job(backend, job_id)
    assert view["status"] == "completed", view
    return view


def running(backend: Process, job_id: str) -> bool:
    return bool(job(backend, job_id)["progress"]["stage"] == "recognizing")


def worker_of(pair: tuple[Process, Process], data: Path) -> tuple[Process, Process]:
    """Who works on the only job, and who does not: who works has its folder open."""
    for index, process in enumerate(pair):
        files = Path(f"/proc/{process.popen.pid}/fd").iterdir()
        if any(file.resolve().parent == data / "spool" for file in files):
            return process, pair[1 - index]
    raise AssertionError("nobody works")


@pytest.mark.slow
def test_a_process_that_starts_again_leaves_the_others_work_alone(
    pair: tuple[Process, Process], gate: Gate
) -> None:
    first, second = pair
    jobs = [submit(first, wav(noise(8, seed))) for seed in range(2)]
    until(lambda: all(running(second, each) for each in jobs))
    until(lambda: len(gate.asked) == 4)
    for n, process in enumerate(pair):
        process.kill()
        process.start()
        until(lambda n=n: gate.asked.total() >= 6 + 2 * n)
    gate.open.set()
    for each in jobs:
        completed(first, each)
    again = sorted(gate.asked.values())
    assert again[-4:] == [2, 2, 2, 2], "only what was at the model of the killed one, and once"
    assert set(again[:-4]) == {1}


def test_the_survivor_goes_on_with_the_work_of_a_killed_process(
    pair: tuple[Process, Process], gate: Gate
) -> None:
    jobs = [submit(pair[0], wav(noise(8, seed))) for seed in range(4)]
    until(lambda: len(gate.asked) == 4)
    pair[1].kill()
    gate.open.set()
    windows = sum(completed(pair[0], each)["progress"]["windows_total"] for each in jobs)
    assert len(gate.asked) == windows
    assert gate.asked.total() <= windows + 2
    assert "Traceback" not in pair[0].log.read_text()


def test_what_one_is_told_the_other_does(pair: tuple[Process, Process], gate: Gate) -> None:
    jobs = [submit(pair[n], wav(noise(8, n))) for n in range(2)]
    until(lambda: all(running(pair[0], each) for each in jobs))
    for each in jobs:  # one of them is worked on elsewhere, whoever is asked
        requests.delete(f"{pair[0].url}/v1/jobs/{each}", timeout=60)
        requests.post(f"{pair[0].url}/v1/jobs/{each}/retry", timeout=60)
    gate.open.set()
    for each in jobs:
        completed(pair[1], each)
        assert requests.get(f"{pair[1].url}/v1/jobs/{each}/audio", timeout=60).ok
    requests.delete(f"{pair[0].url}/v1/jobs/{jobs[0]}?purge=true", timeout=60)
    assert requests.get(f"{pair[1].url}/v1/jobs/{jobs[0]}", timeout=60).status_code == 404
    for each in pair:
        assert "Traceback" not in each.log.read_text()


def test_the_same_recording_sent_and_removed_on_both_sides_is_never_lost(
    pair: tuple[Process, Process], gate: Gate
) -> None:
    gate.open.set()
    content = wav(noise(2))
    keep = submit(pair[0], content)
    upload = requests.get(f"{pair[0].url}/v1/jobs/{keep}", timeout=60).json()
    assert upload["id"] == keep

    def send_and_remove(n: int) -> None:
        for _ in range(5):
            mine = submit(pair[n % 2], content)
            url = f"{pair[(n + 1) % 2].url}/v1/jobs/{mine}"
            assert requests.delete(f"{url}?purge=true", timeout=60).status_code == 204

    all_at_once(4, send_and_remove)
    completed(pair[1], keep)
    assert requests.get(f"{pair[1].url}/v1/jobs/{keep}/audio", timeout=60).content == content
    for each in pair:
        assert "Traceback" not in each.log.read_text()


@pytest.mark.slow
def test_a_stopped_process_that_wakes_up_writes_nothing(
    pair: tuple[Process, Process], gate: Gate, tmp_path: Path
) -> None:
    job_id = submit(pair[0], wav(noise(8)))
    until(lambda: len(gate.asked) == 2)
    sleeper, other = worker_of(pair, tmp_path)
    sleeper.popen.send_signal(signal.SIGSTOP)
    try:
        until(lambda: sum(gate.asked.values()) >= 4, 60)
        gate.open.set()
        view = completed(other, job_id)
    finally:
        sleeper.popen.send_signal(signal.SIGCONT)
    text = requests.get(f"{other.url}/v1/jobs/{job_id}/transcript?format=txt", timeout=60).text
    until(lambda: requests.get(f"{sleeper.url}/ready", timeout=60).ok)
    assert job(sleeper, job_id)["progress"] == view["progress"]
    assert (
        requests.get(f"{sleeper.url}/v1/jobs/{job_id}/transcript?format=txt", timeout=60).text
        == text
    )


def test_processes_that_begin_together_sign_sessions_alike(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stenograf.backend.session import secret_in\n"
        "print(secret_in(Path(sys.argv[1]) / 'session.secret').hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(6)]
    assert len({process.communicate(timeout=150)[0] for process in started}) == 1
