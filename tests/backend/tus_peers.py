"""Both ends of tus as processes: our server, the official one, clients of other hands."""

import base64
import contextlib
import hashlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ..servers import free_port

HERE = Path(__file__).parent
VERSION = {"Tus-Resumable": "1.0.0"}
CHUNK = {"Content-Type": "application/offset+octet-stream"}
MAX_BYTES = 64 * 1024**2


def encoded(**pairs: str) -> str:
    """An Upload-Metadata header."""
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())


def digest(algorithm: str, data: bytes) -> str:
    """An Upload-Checksum header."""
    raw = hashlib.new(algorithm, data).digest()
    return f"{algorithm} {base64.b64encode(raw).decode()}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Peer:
    """A server process on its own port."""

    command: list[str]
    port: int
    popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def files(self) -> str:
        return f"http://127.0.0.1:{self.port}/files"

    def start(self) -> None:
        self.popen = subprocess.Popen([*self.command, str(self.port), str(MAX_BYTES)])
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.popen.poll() is None:
            with contextlib.suppress(OSError), self.connect():
                return
            time.sleep(0.02)
        pytest.fail(f"{self.command} did not start")

    def stop(self) -> None:
        assert self.popen is not None
        self.popen.terminate()
        self.popen.wait(60)

    def parent(self) -> psutil.Process:
        assert self.popen is not None
        return psutil.Process(self.popen.pid)

    def server(self) -> psutil.Process:
        """The process that serves: the parent's child, if just now there is one."""
        parent = self.parent()
        return next(iter(parent.children()), parent)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes = b""
    ) -> Answer:
        """One request on its own connection, with just these headers and a Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body or "Content-Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def create(self, length: int, **metadata: str) -> str:
        """The path of a new upload."""
        headers = VERSION | {"Upload-Length": str(length)}
        if metadata:
            headers["Upload-Metadata"] = encoded(**metadata)
        answer = self.ask("POST", "/files", headers)
        assert answer.status == 201
        return str(answer.headers["Location"])

    def patch(self, path: str, offset: int, body: bytes, **more: str) -> Answer:
        headers = VERSION | CHUNK | {"Upload-Offset": str(offset)}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return self.ask("PATCH", path, headers, body)

    def offset(self, path: str) -> int:
        answer = self.ask("HEAD", path, VERSION)
        assert answer.status == 200
        return int(answer.headers["Upload-Offset"])


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Peer]:
    peer = Peer(command, free_port())
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def ours(
    root: Path, stall_s: float = 2.0, patience_s: float = 6.0
) -> contextlib.AbstractContextManager[Peer]:
    """Our server; see `UploadStore` for what a sender and its rival may do."""
    server = [sys.executable, str(HERE / "tus_server.py")]
    return running([*server, str(root), str(stall_s), str(patience_s)])


def official(root: Path, modules: Path) -> contextlib.AbstractContextManager[Peer]:
    return running(["node", str(modules / "official_server.mjs"), str(root)])
