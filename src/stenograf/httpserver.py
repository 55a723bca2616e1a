"""uvicorn with deadlines for clients that stop half-way, and with a rest while nobody asks.

Server(uvicorn.Config(app, http=deadline_protocol(idle_timeout_s=60)))
"""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from types import FrameType
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TICK_S = 1.0  # how often the Date header is renewed
_TOO_MANY = (
    b'{"error": {"code": "overloaded", "message": "Too many clients are connected.",'
    b' "hint": "Ask again shortly."}}'
)


class Server(uvicorn.Server):
    """uvicorn's server, which would look ten times a second whether a signal came, told by it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = asyncio.Event()

    async def main_loop(self) -> None:
        """Run until a signal comes."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._signalled.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal and wake the loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._signalled.set)


@dataclass(frozen=True)
class Deadlines:
    """How long a client may take.

    The headers of a request must be complete `header_timeout_s` after they began, within
    `max_header_bytes`. A body, and the reading of an answer, may pause for `idle_timeout_s`; a
    body slower than `min_bytes_per_s` uses that pause up.
    """

    header_timeout_s: float = 15.0
    idle_timeout_s: float = 60.0
    min_bytes_per_s: float = 100.0
    max_header_bytes: int = 64 * 1024


class _Phase(Enum):
    HEADERS = auto()  # a request has begun, or should, on a fresh connection
    BODY = auto()
    QUIET = auto()  # a request is complete, or uvicorn's keep-alive timer is running


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol that hangs up on a client which stops sending or reading.

    Beyond `max_connections` a client is told so in answer to its first request; those that are
    half as many again, and would use up the system's descriptors, are not heard at all.
    """

    deadlines: ClassVar[Deadlines] = Deadlines()
    max_connections: ClassVar[int | None] = None

    _phase: _Phase
    _deadline: float
    _header_bytes: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the first request's deadline: a connection without one counts as stalled."""
        super().connection_made(transport)
        self._write_deadline: float | None = None
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None
        over = len(self.connections) - (self.max_connections or len(self.connections))
        self._too_many = over > 0
        if over > (self.max_connections or 0) // 2:
            self._drop()
            return
        self._end_unacknowledged()
        self._enter_headers()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._unwatch()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Stop watching: the connection speaks another protocol from here."""
        self._unwatch()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse; bytes of a body earn the client time, bytes of headers do not."""
        if self._too_many:
            self._refuse(b"503 Service Unavailable", _TOO_MANY)
            return
        super().data_received(data)
        if self.transport.is_closing() or self._timer is None:
            return
        if self._phase is _Phase.QUIET and self.timeout_keep_alive_task is None and not self._busy:
            self._enter_headers()  # blank lines, which end the keep-alive timer but begin nothing
        if self._phase is _Phase.BODY:
            if not self._answered:
                earned = self._deadline + len(data) / self.deadlines.min_bytes_per_s
                self._deadline = min(earned, self._idle_deadline())
        elif self._phase is _Phase.HEADERS:
            self._header_bytes += len(data)
            if self._header_bytes > self.deadlines.max_header_bytes:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin the deadline of the headers."""
        super().on_message_begin()
        self._enter_headers()

    def on_headers_complete(self) -> None:
        """Begin the deadline of the body."""
        super().on_headers_complete()
        self._phase, self._answered = _Phase.BODY, False
        self._deadline = self._idle_deadline()

    def on_message_complete(self) -> None:
        """Nothing more to wait for."""
        super().on_message_complete()
        self._phase = _Phase.QUIET

    def on_response_complete(self) -> None:
        """A body that nobody reads any more may take one more pause, however fast it comes."""
        super().on_response_complete()
        if self._phase is _Phase.BODY:
            self._answered, self._deadline = True, self._idle_deadline()

    def pause_writing(self) -> None:
        """Begin the deadline of the client's reading."""
        super().pause_writing()
        self._write_deadline = self._idle_deadline()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._write_deadline = None

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _enter_headers(self) -> None:
        self._phase = _Phase.HEADERS
        self._header_bytes = 0
        self._deadline = self.loop.time() + self.deadlines.header_timeout_s

    def _idle_deadline(self) -> float:
        return self.loop.time() + self.deadlines.idle_timeout_s

    def _watch(self) -> None:
        """Act on what is overdue, then sleep until the next deadline."""
        now = self.loop.time()
        if self._write_deadline is not None and now >= self._write_deadline:
            self._drop()
            return
        if self._waits_for_client() and now >= self._deadline:
            self._hang_up()
            return
        shortest_s = min(self.deadlines.header_timeout_s, self.deadlines.idle_timeout_s)
        wait_s = shortest_s  # a deadline that begins meanwhile is met at most this late
        if self._waits_for_client():
            wait_s = min(wait_s, self._deadline - now)
        if self._write_deadline is not None:
            wait_s = min(wait_s, self._write_deadline - now)
        self._timer = self.loop.call_later(max(wait_s, shortest_s / 16), self._watch)

    def _waits_for_client(self) -> bool:
        if self._phase is _Phase.HEADERS:
            return not self._busy  # a pipelined request waits for the answer before it
        if self._phase is _Phase.BODY:
            if self.flow.read_paused:  # the app is the slow one
                self._deadline = self._idle_deadline()
            return not self.flow.read_paused
        return False

    def _hang_up(self) -> None:
        if self._phase is _Phase.HEADERS and self._header_bytes:
            self._refuse(b"408 Request Timeout")
        elif self._phase is _Phase.BODY:
            self._drop()
        else:
            self.transport.close()

    def _end_unacknowledged(self) -> None:
        """Let the kernel end the connection of a client that vanished without a word.

        It would otherwise go on sending for a quarter of an hour.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(AttributeError, OSError):  # Linux has it
                idle_ms = round(self.deadlines.idle_timeout_s * 1000)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, idle_ms)

    def _drop(self) -> None:
        """Reset the connection: a close would wait, here and in the kernel, for a reader."""
        at_once = struct.pack("ii", 1, 0)
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.transport.abort()

    def _refuse(self, status: bytes, error: bytes = b"") -> None:
        self._unwatch()
        lines = [b"HTTP/1.1 " + status, b"Connection: close", b"Content-Length: %d" % len(error)]
        if error:
            lines += [b"Content-Type: application/json", b"Retry-After: 10"]
        self.transport.write(b"\r\n".join([*lines, b"", error]))
        self.transport.close()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def deadline_protocol(
    *,
    header_timeout_s: float = Deadlines.header_timeout_s,
    idle_timeout_s: float = Deadlines.idle_timeout_s,
    min_bytes_per_s: float = Deadlines.min_bytes_per_s,
    max_header_bytes: int = Deadlines.max_header_bytes,
    max_connections: int | None = None,
) -> type[DeadlineProtocol]:
    """A protocol class with these `Deadlines` and bound, for uvicorn's `http` option."""
    deadlines = Deadlines(header_timeout_s, idle_timeout_s, min_bytes_per_s, max_header_bytes)
    own = {"deadlines": deadlines, "max_connections": max_connections}
    return type("ConfiguredDeadlineProtocol", (DeadlineProtocol,), own)
