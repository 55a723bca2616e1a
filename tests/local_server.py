"""An HTTP server in the test's own process, for stand-ins of what our services talk to."""

import socket
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Handler(BaseHTTPRequestHandler):
    """Answers in one piece, says nothing on the terminal and notices a client that leaves."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        """The body of the request. Raises ConnectionAbortedError where the client left before."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError(f"{len(body)} of {length} bytes came")
        return body

    def send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """Answer; HEAD gets no body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        """Break the connection off."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def client_leaves(self, within_s: float) -> bool:
        """Wait; True at once when the client closes the connection meanwhile."""
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.settimeout(min(left_s, 0.05))
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    return True
                time.sleep(min(left_s, 0.05))  # it sent more already
            except TimeoutError:
                continue
            except OSError:
                return True
            finally:
                self.connection.settimeout(None)
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *request: Any) -> None:
        """A client that leaves is nothing to print about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*request)


class LocalServer:
    """Serves on the loopback, by default on a free port, until it is closed."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self._http = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Root of the server."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._thread.join(60)
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
