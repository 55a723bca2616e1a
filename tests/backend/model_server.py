"""A model server that does as it is told and remembers what it was asked."""

import io
import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import soundfile

from ..local_server import Handler, LocalServer


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
    filled: bool = False
    """White space comes while the delay lasts, as from a service that is at work on the answer."""


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


class ModelServer(LocalServer):
    """Does as it is told; `answer` may be replaced at any time."""

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
        super().__init__(_handler(self), port)


class ReplyHandler(Handler):
    """Sends replies."""

    def reply(self, reply: Reply) -> bool:
        """Do what the reply says; False if the client did not wait for it."""
        if reply.filled:
            return self._fill(reply.delay_s)
        if self.client_leaves(reply.delay_s):
            self.close_connection = True
            return False
        if reply.hang_up:
            self.hang_up()
            return True
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send(reply.status, body, reply.headers)
        return True

    def _fill(self, delay_s: float) -> bool:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(round(delay_s / 0.1)):
            self.wfile.write(b"1\r\n \r\n")
            if self.client_leaves(0.1):
                self.close_connection = True
                return False
        self.hang_up()
        return True


def _handler(server: ModelServer) -> type[Handler]:
    class ModelHandler(ReplyHandler):
        def do_GET(self) -> None:
            if self.path == "/ready":
                self._answer(server.ready)
            elif self.path == "/v1/models" and server.models is not None:
                self._answer(server.models)
            elif self.path == "/v1/models":
                row = {"id": server.model, "object": "model", "owned_by": "stenograf"}
                self._answer(Reply(body={"object": "list", "data": [row]}))
            else:
                self._answer(Reply(404, {"error": {"code": "not_found", "message": "no"}}))

        def do_POST(self) -> None:
            asked = parse(self.headers["Content-Type"], self.body())
            asked.recording = self.headers.get("X-Recording-Id", "")
            with server.lock:
                server.asked.append(asked)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self._answer(server.answer(asked))
            finally:
                with server.lock:
                    server.at_once -= 1

        def _answer(self, reply: Reply) -> None:
            if not self.reply(reply):
                server.gone_clients += 1

    return ModelHandler


def parse(content_type: str, body: bytes) -> Asked:
    """What a form asks for."""
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
