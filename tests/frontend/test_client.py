"""The client against a backend that answers well, badly, late or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from stenograf.contract.errors import (
    BadOptions,
    Conflict,
    NetworkTimeout,
    NotFound,
    Overloaded,
    StenografError,
    Unavailable,
)
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions
from stenograf.frontend.client import BackendClient, browser_address

from ..local_server import Handler, LocalServer
from ..servers import free_port
from ..waiting import until
from .conftest import wav_file
from .fake_backend import FakeBackend, FakeUpload


def wait_for(client: BackendClient, job_id: str, status: JobStatus) -> None:
    until(lambda: client.job(job_id).status is status)


def test_job_runs_from_upload_to_completion(backend: FakeBackend) -> None:
    client = BackendClient(backend.url + "/")
    backend.uploads["up1"] = FakeUpload(1, "речь.wav", bytearray(wav_file(9)))
    job = client.create("up1", TranscribeOptions(), title="Планёрка")
    wait_for(client, job.id, JobStatus.COMPLETED)
    assert client.job(job.id).title == "Планёрка"
    assert [found.id for found in client.jobs("ПЛАНЁРКА").data] == [job.id]
    assert client.jobs("нет такого").data == []
    client.purge(job.id)
    with pytest.raises(NotFound):
        client.job(job.id)


def test_cancelled_job_can_be_tried_again(backend: FakeBackend) -> None:
    backend.jobs.hold_at = 1
    client = BackendClient(backend.url)
    job = backend.jobs.add("длинная.wav", wav_file(60))
    wait_for(client, job.id, JobStatus.RUNNING)
    assert client.cancel(job.id).status is JobStatus.CANCELLED
    with pytest.raises(Conflict):
        client.cancel(job.id)
    assert not client.retry(job.id).status.final
    with pytest.raises(Conflict):
        client.retry(job.id)


def test_errors_come_back_as_the_class_the_backend_named(backend: FakeBackend) -> None:
    client = BackendClient(backend.url)
    with pytest.raises(NotFound) as caught:
        client.create("nothing", TranscribeOptions())
    assert caught.value.message == "No such upload"
    backend.faults.refuse_jobs = 1
    backend.uploads["up1"] = FakeUpload(1, "a.wav", bytearray(wav_file(1)))
    with pytest.raises(Overloaded) as refused:
        client.create("up1", TranscribeOptions())
    assert refused.value.retry_after_s == 1
    bad = TranscribeOptions.model_construct(model=5)
    with pytest.warns(UserWarning), pytest.raises(BadOptions):
        client.create("up1", bad)


@pytest.mark.parametrize("job_id", ["", "..", "../ready", "a/b", "a?x=1", "я" * 3, "x" * 65])
def test_id_from_the_address_never_leaves_its_route(backend: FakeBackend, job_id: str) -> None:
    with pytest.raises(NotFound):
        BackendClient(backend.url).job(job_id)
    assert backend.requests == []


def test_readiness_is_told_whether_good_or_bad(backend: FakeBackend) -> None:
    client = BackendClient(backend.url)
    assert client.readiness()["status"] == "ready"
    backend.jobs.checks["llm"] = "The model is loading"
    assert requests.get(f"{backend.url}/ready", timeout=60).status_code == 503
    assert client.readiness()["checks"]["llm"] == "The model is loading"


def test_nobody_there(backend: FakeBackend) -> None:
    client = BackendClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="cannot be reached"):
        client.jobs()


@contextmanager
def answering(status: int, body: bytes, delay_s: float = 0.0) -> Iterator[str]:
    """A server that gives every request the same answer."""

    class OneAnswer(Handler):
        def do_GET(self) -> None:
            if not self.client_leaves(delay_s):
                self.send(status, body)

    with LocalServer(OneAnswer) as server:
        yield server.url


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>a proxy's page</html>", Unavailable),
        (200, b"[]", Unavailable),
        (502, b"Bad gateway", Unavailable),
        (500, b'{"error": "text"}', Unavailable),
        (404, b'{"error": {"message": "no code"}}', Unavailable),
        (418, b'{"error": {"code": "teapot", "message": "short"}}', StenografError),
    ],
)
def test_answers_nobody_expects_become_errors(
    status: int, body: bytes, error: type[StenografError]
) -> None:
    with answering(status, body) as url, pytest.raises(error):
        BackendClient(url).jobs()


def test_late_answer_is_a_timeout() -> None:
    with answering(200, b"{}", delay_s=2) as url, pytest.raises(NetworkTimeout):
        BackendClient(url, read_timeout_s=0.1).jobs()


@pytest.mark.parametrize(
    ("endpoint", "public", "url", "port"),
    [
        ("http://backend:8009", "", "", 8009),
        ("https://speech.example", "", "", 443),
        ("http://backend", "https://x.example/api/", "https://x.example/api", 80),
    ],
)
def test_browser_finds_the_backend(endpoint: str, public: str, url: str, port: int) -> None:
    assert browser_address(endpoint, public) == {"url": url, "port": port}
