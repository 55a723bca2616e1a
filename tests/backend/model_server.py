"""A model server that does as it is told and remembers what it was asked."""

import io
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import soundfile


@dataclass
class Asked:
    """One request for a window: its fields, and its sound as a WAV file."""

    fields: dict[str, list[str]]
    wav: bytes
    sent_as: str = ""
    recording: str = ""

    @property
    def n_samples(self) -> int:
        """Samples of the window."""
        return (len(self.wav) - 44) // 2


@dataclass
class Reply:
    """What the server does with a request."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hang_up: bool = False


def heard(asked: Asked, text: str = " раз два") -> dict[str, Any]:
    """`verbose_json` with one segment over the whole window and its words."""
    end = asked.n_samples / 16_000
    words = text.split()
    step = end / len(words) if words else 0.0
    return {
        "task": "transcribe",
        "language": "russian",
        "duration": end,
        "text": text,
        "segments": [
            {
                "id": 0,
                "seek": 0,
                "start": 0.0,
                "end": end,
                "text": text,
                "tokens": [1, 2],
                "temperature": 0.0,
                "avg_logprob": -0.2,
                "compression_ratio": 1.1,
                "no_speech_prob": 0.01,
            }
        ],
        "words": [
            {"word": word, "start": i * step, "end": (i + 1) * step, "probability": 0.9}
            for i, word in enumerate(words)
        ],
    }


def quick(count: int) -> Callable[[Asked], Reply]:
    """Answers so many windows at once and keeps the others waiting."""
    numbers = itertools.count()
    return lambda asked: Reply(body=heard(asked), delay_s=0 if next(numbers) < count else 30)


class ModelServer:
    """Serves on the loopback, by default on a free port; `answer` may be replaced at any time."""

    def __init__(self, port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.model = "model-a"
        self.ready = Reply(body={"status": "ready", "progress": 1.0})
        self.models: Reply | None = None
        self.answer: Callable[[Asked], Reply] = lambda asked: Reply(body=heard(asked))
        self.gone_clients = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Root of the server."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._thread.join(10)
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            if self.path == "/ready":
                self._send(server.ready)
            elif self.path == "/v1/models" and server.models is not None:
                self._send(server.models)
            elif self.path == "/v1/models":
                row = {"id": server.model, "object": "model", "owned_by": "stenograf"}
                self._send(Reply(body={"object": "list", "data": [row]}))
            else:
                self._send(Reply(404, {"error": {"code": "not_found", "message": "no"}}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = _parse(self.headers["Content-Type"], body)
            asked.recording = self.headers.get("X-Recording-Id", "")
            with server.lock:
                server.asked.append(asked)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self._send(server.answer(asked))
            finally:
                with server.lock:
                    server.at_once -= 1

        def _send(self, reply: Reply) -> None:
            if self._client_left(reply.delay_s):
                server.gone_clients += 1
                self.close_connection = True
                return
            if reply.hang_up:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _client_left(self, delay_s: float) -> bool:
            deadline = time.monotonic() + delay_s
            while (left_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(min(left_s, 0.05))
                try:
                    if self.connection.recv(1, socket.MSG_PEEK) == b"":
                        return True
                except TimeoutError:
                    continue
                except OSError:
                    return True
                finally:
                    self.connection.settimeout(None)
            return False

    return Handler


def _parse(content_type: str, body: bytes) -> Asked:
    boundary = content_type.split("boundary=")[1].encode()
    fields: dict[str, list[str]] = {}
    wav, sent_as = b"", ""
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        value = value.removesuffix(b"\r\n")
        if b"filename=" in head:
            wav, sent_as = _as_wav(value), head.split(b"Content-Type: ")[1].decode()
        else:
            fields.setdefault(name[1].decode(), []).append(value.decode())
    return Asked(fields, wav, sent_as)


def _as_wav(sound: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="int16")
    with io.BytesIO() as file:
        soundfile.write(file, samples, rate, "PCM_16", format="WAV")
        return file.getvalue()
