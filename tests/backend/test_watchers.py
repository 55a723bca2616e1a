"""Many who watch: what one of them reads serves the others, and there is a bound."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from stenograf.backend.hub import Hub
from stenograf.backend.shared import SharedWork
from stenograf.contract.errors import NotFound

from ..servers import backend_process, confined
from ..waiting import until
from .desk import NO_VAD, Desk
from .model_server import Asked, ModelServer, Reply, heard
from .serving import serving
from .sounds import noise, wav


@pytest.fixture
def held(model: ModelServer) -> Iterator[threading.Event]:
    """Set to let the model answer."""
    go_on = threading.Event()

    def answer(asked: Asked) -> Reply:
        go_on.wait(120)
        return Reply(body=heard(asked))

    model.answer = answer
    yield go_on
    go_on.set()


def line_to(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30)


def watch(url: str, job_id: str) -> socket.socket:
    """A connection on which the job's events have been asked for."""
    line = line_to(url)
    line.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return line


def begins(line: socket.socket) -> bytes:
    """The head of the answer; empty where the connection ends without."""
    got = b""
    with suppress(ConnectionError):
        while b"\r\n\r\n" not in got and (block := line.recv(1)):
            got += block
    return got


def test_watchers_beyond_the_bound_are_told_so_and_places_come_back(
    tmp_path: Path, model: ModelServer, held: threading.Event
) -> None:
    with Desk(tmp_path, model.url, max_watchers=3) as desk, serving(desk.app) as url:
        job_id = desk.submit(wav(noise(3)))["id"]
        with ExitStack() as stack:
            for _ in range(3):
                assert b" 200 " in begins(stack.enter_context(watch(url, job_id)))
            refusal = requests.get(f"{url}/v1/jobs/{job_id}/events", timeout=60)
            assert refusal.status_code == 429
            assert refusal.json()["error"]["code"] == "overloaded"
            assert int(refusal.headers["Retry-After"]) > 0
            assert requests.get(f"{url}/v1/jobs/{job_id}", timeout=60).ok

        def again() -> bool:
            with watch(url, job_id) as line:
                return b" 200 " in begins(line)

        until(again)
        held.set()
        desk.wait(job_id)


def submit(url: str, content: bytes) -> str:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content))}
    headers["Content-Type"] = "application/offset+octet-stream"
    made = requests.post(f"{url}/files", content, headers=headers, timeout=60)
    body = {"upload_id": made.headers["Location"].rpartition("/")[2], "options": NO_VAD}
    return str(requests.post(f"{url}/v1/jobs", json=body, timeout=60).json()["id"])


def answered(url: str) -> bytes:
    """What is at an address; nothing where a client is not let in."""
    with suppress(requests.ConnectionError):
        answer = requests.get(url, timeout=60)
        return answer.content if answer.ok else b""
    return b""


@pytest.mark.slow
@pytest.mark.parametrize("silent", [True, False])
def test_a_flood_of_clients_takes_no_descriptors_from_the_work(
    tmp_path: Path, model: ModelServer, held: threading.Event, silent: bool
) -> None:
    with confined(backend_process(tmp_path, model.url)) as backend, ExitStack() as flood:
        job_id = submit(backend.url, wav(noise(3)))
        lines = []
        for _ in range(600):
            with suppress(ConnectionError):  # those beyond are not let in
                line = line_to(backend.url) if silent else watch(backend.url, job_id)
                lines.append(flood.enter_context(line))
        files = Path(f"/proc/{backend.popen.pid}/fd")
        until(lambda: len(list(files.iterdir())) > 80)
        assert max(len(list(files.iterdir())) for _ in range(200)) < 200
        # Clients that say nothing are hung up on, and those that were refused: others get in.
        until(lambda: answered(f"{backend.url}/v1/jobs"))
        held.set()
        until(lambda: b"completed" in answered(f"{backend.url}/v1/jobs/{job_id}"))
        if not silent:
            heads = [begins(line) for line in lines]
            statuses = {head.split()[1] for head in heads if head}
            assert b"200" in statuses
            assert b"503" in statuses or b"429" in statuses
            assert statuses <= {b"200", b"429", b"503"}
        flood.close()
        until(lambda: requests.get(f"{backend.url}/ready", timeout=60).ok)
        until(lambda: len(list(files.iterdir())) < 80)
        log = backend.log.read_text()
        assert "Traceback" not in log
        assert "Too many open files" not in log


def test_readers_that_vanish_leave_nothing(
    tmp_path: Path, model: ModelServer, held: threading.Event
) -> None:
    with Desk(tmp_path, model.url) as desk, serving(desk.app) as url:
        job_id = desk.submit(wav(noise(3)))["id"]
        hub = desk.house.service.hub
        for _ in range(3):
            with ExitStack() as stack:
                for _ in range(30):
                    begins(stack.enter_context(watch(url, job_id)))
                until(lambda: hub.subscribers == 30)
            until(lambda: hub.subscribers == 0)


def test_what_many_ask_for_is_done_once() -> None:
    done = []
    shared = SharedWork()

    def work() -> int:
        time.sleep(0.05)
        done.append(1)
        return len(done)

    async def ask() -> list[int]:
        first = [asyncio.ensure_future(shared.once("a", work)) for _ in range(200)]
        await asyncio.sleep(0)
        first[0].cancel()
        results = await asyncio.gather(*first[1:])
        return [*results, await shared.once("a", work)]

    assert asyncio.run(ask()) == [1] * 199 + [2]
    shared.close()


def test_what_fails_fails_for_everybody_who_asked() -> None:
    shared = SharedWork()

    def work() -> None:
        raise NotFound("gone")

    async def ask() -> list[object]:
        return await asyncio.gather(
            *(shared.once("a", work) for _ in range(3)), return_exceptions=True
        )

    assert all(isinstance(each, NotFound) for each in asyncio.run(ask()))
    shared.close()


def test_a_crowd_looks_at_the_same_moments_and_a_few_at_once() -> None:
    hub = Hub()

    async def look(moments: list[float]) -> None:
        async with hub.subscribe("a") as notices:
            while not notices.changes:
                await notices.changed()
            moments.append(time.monotonic())

    async def crowd(size: int) -> float:
        moments: list[float] = []
        looking = [asyncio.ensure_future(look(moments)) for _ in range(size)]
        await asyncio.sleep(0.05)
        hub.publish("a")
        await asyncio.gather(*looking)
        return max(moments) - min(moments)

    assert hub.rest_s == 0
    assert asyncio.run(crowd(2)) < 1.0
    assert asyncio.run(crowd(400)) < 5.0
    assert hub.subscribers == 0


def test_who_comes_when_others_left_does_not_share_an_older_look() -> None:
    hub = Hub()

    async def moments() -> list[object]:
        seen: list[object] = []
        for _ in range(2):
            async with hub.subscribe("a") as one, hub.subscribe("a") as other:
                assert one.moment == other.moment
                seen.append(one.moment)
        return seen

    first, second = asyncio.run(moments())
    assert first != second
