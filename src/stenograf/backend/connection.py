"""One HTTP connection to the model service that another thread can end at any moment.

Sockets are held directly, not through a higher client, because a waiting request has to end the
moment its job is cancelled: only closing its socket does that, and the server sees it.
"""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

from stenograf.contract.errors import ModelNotReady, NetworkTimeout, Unavailable

_CONNECT_TIMEOUT_S = 5.0
_ABSENCE_S = 10.0  # who asks is told to come back after it
_MAX_ANSWER_BYTES = 32 * 1024**2
_READ_BYTES = 64 * 1024


class Aborted(Exception):
    """`Connection.abort` ended the request."""


@dataclass(frozen=True)
class Answer:
    """Status, headers in lower case, and body of one HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data. Raises Unavailable when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unavailable("The model service answered something that is not JSON.") from None


class Connection:
    """One connection, kept between requests, used by one thread; `abort` comes from any other."""

    def __init__(self, root: SplitResult, api_key: str) -> None:
        self._root = root
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()
        self._aborted = False

    def abort(self) -> None:
        """End the request that is waiting, if any; this session is done for."""
        with self._lock:
            self._aborted = True
            if self._connection is not None and self._connection.sock is not None:
                with suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return not self._aborted

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def send(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        body: bytes = b"",
        media_type: str | None = None,
        more: Mapping[str, str] | None = None,
        overdue: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """One request, with `more` headers.

        Nothing may come for `timeout_s`; an answer that fills the time with white space ends as
        late once it is `overdue`.

        Raises ModelNotReady (nobody listens), NetworkTimeout, Unavailable, Aborted. A kept
        connection that the server closed meanwhile is opened again, once.
        """
        headers = {**self._headers, **(more or {})}
        if media_type:
            headers["Content-Type"] = media_type
        tries = 1 if self._connection is None else 2
        for _ in range(tries):
            with suppress(ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
                return self._exchange(method, path, body, headers, timeout_s, overdue)
        raise Unavailable("The model service broke the connection off.")

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        timeout_s: float,
        overdue: Callable[[], bool],
    ) -> Answer:
        try:
            connection = self._connected(timeout_s)
            connection.request(method, self._root.path + path, body or None, headers)
            response = connection.getresponse()
            content = _content(response, overdue)
            if not response.isclosed():  # longer than anything we asked for
                self.close()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, content)
        except Aborted:
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if self._aborted:
                raise Aborted from None
            if isinstance(error, TimeoutError):
                message = f"The model service did not answer within {timeout_s:g} s."
                raise NetworkTimeout(message) from None
            if isinstance(error, ConnectionError):
                raise
            raise Unavailable("The connection to the model service failed.") from error

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            if self._aborted:
                raise Aborted
            connection = self._connection
        if connection is None or connection.sock is None:
            connection = self._connect()
        with self._lock:
            self._connection = connection
            if self._aborted:
                raise Aborted
        connection.sock.settimeout(timeout_s)
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._root.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._root.hostname or "", self._root.port, timeout=_CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            raise ModelNotReady(
                f"The model service at {self._root.scheme}://{self._root.netloc} does not answer.",
                hint="Start it, or set LLM_ENDPOINT; the job goes on by itself once it answers.",
                retry_after_s=_ABSENCE_S,
            ) from error
        # Kept connections are reconnected here, never inside http.client behind `abort`'s back.
        connection.auto_open = 0
        return connection


def _content(response: http.client.HTTPResponse, overdue: Callable[[], bool]) -> bytes:
    if not response.chunked:
        return response.read(_MAX_ANSWER_BYTES)
    content = bytearray()
    while len(content) < _MAX_ANSWER_BYTES and (block := response.read1(_READ_BYTES)):
        content += block
        if overdue():
            raise TimeoutError
    return bytes(content)
