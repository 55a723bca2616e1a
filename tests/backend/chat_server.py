"""An OpenAI-compatible chat server that does as it is told and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Chat:
    """One request: its body and its headers."""

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def system(self) -> str:
        """The system message."""
        return str(self.body["messages"][0]["content"])

    @property
    def user(self) -> str:
        """The user's message: the orders, and behind the last of them the text."""
        return str(self.body["messages"][1]["content"])

    @property
    def text(self) -> str:
        """The transcript in it."""
        for label in ("Расшифровка:\n", "Transcript:\n", "Ответы по частям:\n"):
            if label in self.user:
                return self.user.rpartition(label)[2]
        return self.user


@dataclass
class Said:
    """What the server does with a request; without `status` it streams `text` word by word."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    pace_s: float = 0.0
    finish: str | None = "stop"
    whole: bool = False
    breaks_after: int | None = None
    lines: Sequence[str] | None = None


def deltas(text: str) -> list[str]:
    """A text in pieces as a model gives it: words with the space before them."""
    words = text.split(" ")
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


class _Quiet(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is nothing to print about."""


class ChatServer:
    """Serves on the loopback, by default on a free port; `answer` may be replaced at any time."""

    def __init__(self, port: int = 0) -> None:
        self.asked: list[Chat] = []
        self.models: list[str] = ["chat-a"]
        self.answer: Callable[[Chat], Said] = lambda _: Said("Кратко: ничего особенного.")
        self.gone_clients = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self._http = _Quiet(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Root of the server."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._thread.join(10)
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            rows = [{"id": name, "object": "model"} for name in server.models]
            found = self.path == "/v1/models"
            body = json.dumps({"object": "list", "data": rows} if found else {}).encode()
            self._whole(200 if found else 404, body, "application/json", {})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            chat = Chat(json.loads(content), headers)
            with server.lock:
                server.asked.append(chat)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self._answer(server.answer(chat))
            except (BrokenPipeError, ConnectionResetError):
                server.gone_clients += 1
                self.close_connection = True
            finally:
                with server.lock:
                    server.at_once -= 1

        def _answer(self, said: Said) -> None:
            self._pause(said.delay_s)
            if self.path != "/v1/chat/completions":
                self._whole(404, b"{}", "application/json", {})
            elif said.status != 200 or said.body is not None:
                self._whole(said.status, said.body or b"", said.media_type, said.headers)
            elif said.whole:
                choice = {
                    "message": {"role": "assistant", "content": said.text},
                    "finish_reason": said.finish,
                }
                body = json.dumps({"choices": [choice]}).encode()
                self._whole(200, body, "application/json", said.headers)
            else:
                self._stream(said)

        def _stream(self, said: Said) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            lines = list(said.lines) if said.lines is not None else _lines(said)
            for line in lines[: said.breaks_after]:
                self._chunk(f"data: {line}\n\n".encode())
                self._pause(said.pace_s)
            if said.breaks_after is not None:
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _whole(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _pause(self, seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while (left_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(min(left_s, 0.05))
                try:
                    if self.connection.recv(1, 2) == b"":  # MSG_PEEK
                        raise BrokenPipeError
                except TimeoutError:
                    continue
                finally:
                    self.connection.settimeout(None)

    return Handler


def _lines(said: Said) -> list[str]:
    opening = {"role": "assistant", "content": ""}
    rows: list[dict[str, Any]] = [{"delta": opening, "finish_reason": None}]
    rows += [{"delta": {"content": part}, "finish_reason": None} for part in deltas(said.text)]
    rows.append({"delta": {}, "finish_reason": said.finish})
    lines = [json.dumps({"choices": [row]}, ensure_ascii=False) for row in rows]
    return [*lines, json.dumps({"choices": [], "usage": {"total_tokens": 9}}), "[DONE]"]
