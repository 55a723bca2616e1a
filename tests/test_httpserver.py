"""Deadlines of the HTTP server, over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from stenograf.httpserver import DeadlineProtocol, Deadlines, deadline_protocol

from .waiting import until

HEADER_S, IDLE_S = 1.2, 2.0  # no busy machine lets a thread wait so long for its turn
LATE_S = 30.0  # when it should have hung up, too
BIG = 64 * 1024**2


class _App:
    """Reads the body, waits as long as the path says, answers with what it read."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        read = 0
        while path != "/unread":
            if path == "/slow" and not read:
                await asyncio.sleep(1.5 * IDLE_S)
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.append("disconnect")
                return
            read += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = b"x" * BIG if path == "/big" else str(read).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.ended.append("answered")


@contextmanager
def _serving(
    app: _App, protocol: type[DeadlineProtocol] | None = None
) -> Iterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    protocol = protocol or deadline_protocol(
        header_timeout_s=HEADER_S, idle_timeout_s=IDLE_S, min_bytes_per_s=1000
    )
    config = uvicorn.Config(
        app, http=protocol, lifespan="off", log_level="critical", timeout_keep_alive=4
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


@pytest.fixture(scope="module")
def app() -> _App:
    return _App()


@pytest.fixture(scope="module")
def address(app: _App) -> Iterator[tuple[str, int]]:
    with _serving(app) as address:
        yield address


@pytest.fixture
def client(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=60) as client:
        yield client


def _rest(client: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def _answer(client: socket.socket, body: bytes) -> bytes:
    """One answer, read up to the body it must end with."""
    received = b""
    while not received.endswith(b"\r\n\r\n" + body):
        piece = client.recv(1000)
        assert piece, received
        received += piece
    return received


def _ends_after_s(client: socket.socket) -> tuple[bytes, float]:
    started = time.monotonic()
    return _rest(client), time.monotonic() - started


def test_defaults_suit_slow_links() -> None:
    assert Deadlines().idle_timeout_s == 60
    assert deadline_protocol(idle_timeout_s=5).deadlines.idle_timeout_s == 5


def test_a_connection_without_a_request_is_closed(client: socket.socket) -> None:
    answer, took_s = _ends_after_s(client)
    assert answer == b""
    assert took_s < LATE_S


@pytest.mark.parametrize("piece", [b"", b"X-More: 1\r\n"])
def test_half_headers_are_refused_however_they_trickle(client: socket.socket, piece: bytes) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
    started = time.monotonic()
    client.settimeout(0.1)
    answer = b""
    while not answer and time.monotonic() - started < LATE_S:
        if piece:
            client.sendall(piece)
        try:
            answer = client.recv(1000)
        except TimeoutError:
            continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_endless_headers_are_refused(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\n" + b"X-Filler: abcdefghijklmnop\r\n" * 4000)
    assert _rest(client).startswith(b"HTTP/1.1 431 ")


def test_blank_lines_do_not_keep_a_connection(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _answer(client, b"0").startswith(b"HTTP/1.1 200 ")
    started = time.monotonic()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while time.monotonic() - started < LATE_S:
            client.sendall(b"\r\n")
            time.sleep(0.1)


def test_a_stalled_body_tells_the_app_that_the_client_is_gone(
    client: socket.socket, app: _App
) -> None:
    app.ended.clear()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    answer, took_s = _ends_after_s(client)
    assert answer == b""
    assert IDLE_S * 0.9 < took_s < LATE_S
    until(lambda: app.ended)
    assert app.ended == ["disconnect"]


def test_a_trickling_body_uses_its_pause_up(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    started = time.monotonic()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while time.monotonic() - started < LATE_S:
            client.sendall(b"x")
            time.sleep(0.1)


def test_a_slow_but_steady_body_arrives(client: socket.socket) -> None:
    pieces = 50  # 3 s in all, longer than any pause that is allowed
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {pieces * 200}\r\n\r\n"
    client.sendall(head.encode())
    for _ in range(pieces):
        client.sendall(b"x" * 200)
        time.sleep(0.06)
    assert _answer(client, b"10000").startswith(b"HTTP/1.1 200 ")


def test_an_app_that_reads_slowly_is_not_the_clients_fault(client: socket.socket) -> None:
    body = b"x" * 200_000
    client.sendall(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + body)
    assert _answer(client, b"200000").startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_read_its_answer_is_dropped(
    client: socket.socket, app: _App
) -> None:
    app.ended.clear()
    client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(3 * IDLE_S)
    assert len(_rest(client)) < BIG


def test_a_body_that_nobody_reads_ends_one_pause_after_the_answer(
    client: socket.socket,
) -> None:
    client.sendall(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
    started = time.monotonic()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while time.monotonic() - started < LATE_S:
            client.sendall(b"x" * 10_000)
            time.sleep(0.02)


def test_keep_alive_carries_many_requests_past_every_deadline(client: socket.socket) -> None:
    for _ in range(10):
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert _answer(client, b"3").startswith(b"HTTP/1.1 200 ")
        time.sleep(0.25)


def _asked(line: socket.socket) -> bytes:
    line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while block := line.recv(65536):
        got += block
        if got.endswith((b"\r\n\r\n0", b"}}")):
            break
    return got


def test_too_many_clients_are_told_so_and_a_flood_is_not_heard(app: _App) -> None:
    with (
        _serving(app, deadline_protocol(max_connections=2)) as address,
        ExitStack() as stack,
    ):

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(address, timeout=LATE_S))

        known = [connect() for _ in range(2)]
        assert all(b" 200 " in _asked(line) for line in known)
        refusal = _asked(connect())
        assert b" 503 " in refusal
        assert b"overloaded" in refusal
        waiting = connect()
        with pytest.raises(ConnectionError):
            _asked(connect())
        waiting.close()
        known.pop().close()

        def comes_in() -> bool:
            with socket.create_connection(address, timeout=LATE_S) as line:
                return b" 200 " in _asked(line)

        until(comes_in)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_the_kernel_ends_connections_of_clients_that_vanished(app: _App) -> None:
    seen: list[int] = []

    class Seen(deadline_protocol(idle_timeout_s=7)):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    with (
        _serving(app, Seen) as address,
        socket.create_connection(address, timeout=LATE_S) as line,
    ):
        assert b" 200 " in _asked(line)
    assert seen == [7000]
