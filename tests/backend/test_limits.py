"""How much one caller may ask for."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from stenograf.backend.access import Caller
from stenograf.backend.limits import Limits, Quota
from stenograf.contract.errors import RateLimited

from .conftest import Clock
from .desk import Desk
from .model_server import ModelServer
from .sounds import tone, wav

ASKED = "/v1/options"
ANNA = {"X-API-Key": "the-key-of-anna-1234"}
BORIS = {"X-API-Key": "the-key-of-boris-567"}
KEYS = f"{ANNA['X-API-Key']},{BORIS['X-API-Key']}"
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def strict(tmp_path: Path, model: ModelServer) -> Iterator[Desk]:
    """A backend that grants each of two keys few uploads."""
    with Desk(tmp_path, model.url, backend_api_keys=KEYS, caller_open_uploads=2) as desk:
        yield desk


def ask(quota: Quota, caller: str = "anna") -> float:
    """Seconds to wait that one short request is told, 0 if it is let in."""
    try:
        with quota.taken(caller):
            return 0.0
    except RateLimited as error:
        assert error.retry_after_s
        return error.retry_after_s


def test_ten_seconds_of_requests_may_come_at_once_then_the_pace_counts(clock: Clock) -> None:
    quota = Quota(60, 0, clock)
    assert [ask(quota) for _ in range(10)] == [0.0] * 10
    assert ask(quota) == pytest.approx(1.0)
    assert ask(quota, "boris") == 0
    clock.advance(1)
    assert ask(quota) == 0
    assert ask(quota) > 0
    clock.advance(3600)  # an hour's rest earns no more than ten seconds' worth
    assert [ask(quota) for _ in range(11)].count(0.0) == 10


def test_the_wait_that_is_told_is_long_enough(clock: Clock) -> None:
    quota = Quota(7, 0, clock)
    for _ in range(50):
        if wait_s := ask(quota):
            clock.advance(wait_s)
            assert ask(quota) == 0


def test_requests_at_once_are_counted_from_beginning_to_end(clock: Clock) -> None:
    quota = Quota(0, 2, clock)
    with ExitStack() as under_way:
        for _ in range(2):
            under_way.enter_context(quota.taken("anna"))
        assert ask(quota) > 0
        assert ask(quota, "boris") == 0
    assert ask(quota) == 0


def test_zero_is_no_limit(clock: Clock) -> None:
    quota = Quota(0, 0, clock)
    assert sum(ask(quota) for _ in range(1000)) == 0


def test_a_million_callers_take_bounded_memory(clock: Clock) -> None:
    quota = Quota(60, 5, clock)
    with quota.taken("here"):
        for number in range(50_000):
            ask(quota, f"address {number}")
        assert len(quota._usage) <= 10_001
        with ExitStack() as under_way:
            for _ in range(4):
                under_way.enter_context(quota.taken("here"))
            assert ask(quota, "here") > 0  # who is here is never forgotten


def test_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path, model: ModelServer) -> None:
    # one request a minute: no machine is so slow that it earns another one meanwhile
    slow = {"backend_api_keys": KEYS, "caller_requests_per_minute": 1}
    with Desk(tmp_path, model.url, **slow) as desk:
        assert desk.http.get(ASKED, headers=ANNA).status_code == 200
        refused = desk.http.get("/v1/models", headers=ANNA)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 110
        assert refused.headers["x-should-retry"] == "true"
        error = refused.json()["error"]
        assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
        assert desk.http.get(ASKED, headers=BORIS).status_code == 200
        assert desk.http.get("/health").status_code == 200


def test_without_keys_an_address_is_the_caller(tmp_path: Path, model: ModelServer) -> None:
    settings = {"backend_host": "0.0.0.0", "allow_no_key": True}
    with Desk(tmp_path, model.url, caller_requests_per_minute=1, **settings) as desk:

        def codes(address: str) -> list[int]:
            http = TestClient(desk.app, client=(address, 50_000))
            return [http.get("/v1/session").status_code for _ in range(2)]

        assert codes("203.0.113.5") == [200, 429]
        assert codes("203.0.113.6") == [200, 429]
        assert codes("2001:db8::1") == [200, 429]
        assert codes("2001:db8::2") == [429, 429]  # the same network
        assert codes("127.0.0.1") == [200, 200]


def test_requests_under_way_are_bounded_and_given_back() -> None:
    asyncio.run(_under_way())


async def _under_way() -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    app = Limits(slow, Quota(0, 3))
    answered: list[int] = []

    async def call() -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        state = {"caller": Caller("anna", limited=True)}
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": state}
        await app(scope, receive, send)

    calls = [asyncio.create_task(call()) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert answered == [429, 429]
    calls[0].cancel()  # a client that leaves gives its place back
    await asyncio.sleep(0.05)
    calls.append(asyncio.create_task(call()))
    await asyncio.sleep(0.05)
    assert answered == [429, 429]
    release.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert answered == [429, 429, 200, 200, 200]


def test_unfinished_uploads_are_bounded(strict: Desk) -> None:
    def begin(who: dict[str, str]) -> tuple[int, str]:
        headers = {**TUS, **who, "Upload-Length": "4"}
        answer = strict.http.post("/files", headers=headers)
        return answer.status_code, answer.headers.get("location", "")

    _, first = begin(ANNA)
    _, second = begin(ANNA)
    assert begin(ANNA)[0] == 429
    assert begin(BORIS)[0] == 201
    chunk = {**TUS, **ANNA, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert strict.http.patch(first, content=b"RIFF", headers=chunk).status_code == 204
    assert begin(ANNA)[0] == 201  # the finished one counts no more
    assert begin(ANNA)[0] == 429
    assert strict.http.delete(second, headers={**TUS, **ANNA}).status_code == 204
    assert begin(ANNA)[0] == 201


def test_a_recording_beyond_the_limit_is_refused_however_it_comes(
    tmp_path: Path, model: ModelServer
) -> None:
    with Desk(tmp_path, model.url, max_upload_bytes=1000) as desk:
        announced = desk.http.post("/files", headers={**TUS, "Upload-Length": "1001"})
        assert announced.status_code == 413
        deferred = desk.http.post("/files", headers={**TUS, "Upload-Defer-Length": "1"})
        chunk = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        over = desk.http.patch(deferred.headers["location"], content=b"x" * 1001, headers=chunk)
        assert over.status_code == 413
        form = {"file": ("a.wav", b"x" * 1001)}
        openai = desk.http.post("/v1/audio/transcriptions", files=form)
        assert openai.status_code == 413
        assert openai.headers["x-should-retry"] == "false"
        assert len(list((tmp_path / "uploads").glob("*/content"))) == 1  # the deferred one's


def test_a_recording_longer_than_allowed_fails_and_says_so(
    tmp_path: Path, model: ModelServer
) -> None:
    with Desk(tmp_path, model.url, max_duration_s=2) as desk:
        job = desk.wait(desk.submit(wav(tone(3)))["id"])
        assert job["error"]["code"] == "decode_limit_exceeded"
