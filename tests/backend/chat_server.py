"""An OpenAI-compatible chat server that does as it is told and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..local_server import Handler, LocalServer

_JSON = {"Content-Type": "application/json"}


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


class ChatServer(LocalServer):
    """Does as it is told; `answer` may be replaced at any time."""

    def __init__(self, port: int = 0) -> None:
        self.asked: list[Chat] = []
        self.models: list[str] = ["chat-a"]
        self.answer: Callable[[Chat], Said] = lambda _: Said("Кратко: ничего особенного.")
        self.gone_clients = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        super().__init__(_handler(self), port)


def _handler(server: ChatServer) -> type[Handler]:
    class ChatHandler(Handler):
        def do_GET(self) -> None:
            rows = [{"id": name, "object": "model"} for name in server.models]
            found = self.path == "/v1/models"
            body = json.dumps({"object": "list", "data": rows} if found else {}).encode()
            self.send(200 if found else 404, body, _JSON)

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            chat = Chat(json.loads(self.body()), headers)
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
                self.send(404, b"{}", _JSON)
            elif said.status != 200 or said.body is not None:
                headers = {"Content-Type": said.media_type, **said.headers}
                self.send(said.status, said.body or b"", headers)
            elif said.whole:
                choice = {
                    "message": {"role": "assistant", "content": said.text},
                    "finish_reason": said.finish,
                }
                self.send(200, json.dumps({"choices": [choice]}).encode(), _JSON | said.headers)
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

        def _pause(self, seconds: float) -> None:
            if self.client_leaves(seconds):
                raise BrokenPipeError

    return ChatHandler


def _lines(said: Said) -> list[str]:
    opening = {"role": "assistant", "content": ""}
    rows: list[dict[str, Any]] = [{"delta": opening, "finish_reason": None}]
    rows += [{"delta": {"content": part}, "finish_reason": None} for part in deltas(said.text)]
    rows.append({"delta": {}, "finish_reason": said.finish})
    lines = [json.dumps({"choices": [row]}, ensure_ascii=False) for row in rows]
    return [*lines, json.dumps({"choices": [], "usage": {"total_tokens": 9}}), "[DONE]"]
