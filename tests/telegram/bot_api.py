"""Telegram's Bot API as far as our bot speaks it: a stand-in on the loopback.

Messages are put in from one side as a person would send them, calls of the bot are kept to be
looked at, and any method can be told to fail.
"""

import json
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PERSON = 42
_BOT = {"id": 123456, "is_bot": True, "first_name": "Bot", "username": "stenograf_bot"}


@dataclass(frozen=True)
class Call:
    """What the bot asked for; `file` is the body of a document."""

    method: str
    fields: dict[str, Any]
    file: bytes = b""
    filename: str = ""


@dataclass(frozen=True)
class Failure:
    """An answer that is none."""

    status: int
    description: str
    retry_after_s: int | None = None
    hang_up: bool = False


@dataclass
class BotApi:
    """Serves from `start` to `close`; everything else may be used from any thread."""

    calls: list[Call] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)  # of a server with --local
    failures: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    confirmed: int = 0
    webhook: dict[str, Any] = field(default_factory=dict)
    language_code: str = "ru"
    url: str = ""

    def __post_init__(self) -> None:
        self._updates: list[dict[str, Any]] = []
        self._numbers = count(1)
        self._changed = threading.Condition()
        self._closed = False

    def start(self) -> None:
        """Serve at `url`."""
        handler = type("Handler", (_Handler,), {"api": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._closed = True
        with self._changed:
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()

    # --- what a person does

    def update(self, **content: Any) -> dict[str, Any]:
        """An update that nobody has sent yet."""
        return {"update_id": 1000 + next(self._numbers), **content}

    def message(self, *, chat_id: int = PERSON, user_id: int = PERSON, **content: Any) -> Any:
        """An update with a message of a person."""
        return self.update(
            message={
                "message_id": next(self._numbers),
                "date": int(time.time()),
                "chat": {"id": chat_id, "type": "private" if chat_id > 0 else "group"},
                "from": {
                    "id": user_id,
                    "is_bot": False,
                    "first_name": "Анна",
                    "username": f"user{user_id}",
                    "language_code": self.language_code,
                },
                **content,
            }
        )

    def recording(self, kind: str, body: bytes, *, name: str = "", **more: Any) -> Any:
        """An update with a recording: kind voice, audio, video, video_note or document."""
        file_id = f"file{next(self._numbers)}"
        self.files[file_id] = body
        about: dict[str, Any] = {
            "file_id": file_id,
            "file_unique_id": file_id,
            "file_size": len(body),
            "duration": 5,
        }
        about |= {"width": 240, "height": 240} if kind == "video" else {}
        about |= {"length": 240} if kind == "video_note" else {}
        about |= {"file_name": name} if name else {}
        return self.message(**{kind: about | more})

    def press(self, shown: dict[str, Any], data: str, *, user_id: int = PERSON) -> None:
        """Press a button under a message of the bot."""
        sender = {"id": user_id, "is_bot": False, "first_name": "Анна", "language_code": "ru"}
        query = {
            "id": str(next(self._numbers)),
            "from": sender,
            "chat_instance": "1",
            "message": shown,
            "data": data,
        }
        self.send(self.update(callback_query=query))

    def command(self, text: str, **more: Any) -> None:
        """Write a command."""
        length = len(text.split()[0])
        entities = [{"type": "bot_command", "offset": 0, "length": length}]
        self.send(self.message(text=text, entities=entities, **more))

    def send(self, update: dict[str, Any]) -> dict[str, Any]:
        """Let Telegram have it for the bot."""
        with self._changed:
            self._updates.append(update)
            self._changed.notify_all()
        return update

    # --- what the bot did

    def of(self, method: str) -> list[Call]:
        """The calls of a method."""
        with self._changed:
            return [call for call in self.calls if call.method == method]

    def said(self, chat_id: int = PERSON) -> list[str]:
        """The texts the bot sent to a chat."""
        return [
            call.fields["text"]
            for call in self.of("sendMessage")
            if call.fields["chat_id"] == str(chat_id)
        ]

    def wait(self, method: str, n: int = 1, timeout_s: float = 120.0) -> Call:
        """The n-th call of a method, waited for."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(found := [call for call in self.calls if call.method == method]) < n:
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"no {method}: {[call.method for call in self.calls]}"
                self._changed.wait(left_s)
        return found[n - 1]

    # --- the server's side

    def answer(self, call: Call) -> Any:
        """The result of a method."""
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        fields = call.fields
        match call.method:
            case "getMe":
                return _BOT
            case "getUpdates":
                return self._get_updates(fields)
            case "setWebhook":
                self.webhook = fields
                return True
            case "getFile":
                file_id = fields["file_id"]
                return {
                    "file_id": file_id,
                    "file_unique_id": file_id,
                    "file_path": self.paths.get(file_id, f"voice/{file_id}"),
                }
            case "sendMessage" | "sendDocument" | "editMessageText":
                return self.shown(call)
        return True

    def shown(self, call: Call) -> dict[str, Any]:
        """The message that a call of the bot put into the chat."""
        fields = call.fields
        chat_id = int(fields["chat_id"])
        message: dict[str, Any] = {
            "message_id": int(fields.get("message_id") or next(self._numbers)),
            "date": int(time.time()),
            "chat": {"id": chat_id, "type": "private" if chat_id > 0 else "group"},
            "from": _BOT,
            "text": fields.get("text", "document"),
        }
        return message

    def _get_updates(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + min(float(fields.get("timeout", 0)), 5.0)
        offset = int(fields.get("offset") or 0)
        with self._changed:
            if offset:
                self.confirmed = max(self.confirmed, offset - 1)
                self._updates = [u for u in self._updates if u["update_id"] >= offset]
            while not self._updates and not self._closed and time.monotonic() < deadline:
                self._changed.wait(0.05)
            return self._updates[:100]


class _Handler(BaseHTTPRequestHandler):
    api: BotApi
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        failures = self.api.failures["file"]
        if failures:
            self._fail(failures.popleft())
            return
        prefix = f"/file/bot{TOKEN}/voice/"
        body = self.api.files.get(self.path.removeprefix(prefix))
        if not self.path.startswith(prefix) or body is None:
            self._fail(Failure(404, "Not Found"))
        else:
            self._send(200, body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        root, _, method = self.path.rpartition("/")
        if root != f"/bot{TOKEN}":
            self._fail(Failure(401, "Unauthorized"))
            return
        failures = self.api.failures[method]
        if failures:
            self._fail(failures.popleft())
            return
        call = _read(method, self.headers.get("Content-Type", ""), body)
        result = {"ok": True, "result": self.api.answer(call)}
        self._send(200, json.dumps(result).encode())

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _fail(self, failure: Failure) -> None:
        if failure.hang_up:
            self.close_connection = True
            self.connection.close()
            return
        body: dict[str, Any] = {
            "ok": False,
            "error_code": failure.status,
            "description": failure.description,
        }
        if failure.retry_after_s is not None:
            body["parameters"] = {"retry_after": failure.retry_after_s}
        self._send(failure.status, json.dumps(body).encode())

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the bot was killed meanwhile
            self.close_connection = True


def _read(method: str, content_type: str, body: bytes) -> Call:
    if content_type.startswith("application/x-www-form-urlencoded"):
        rows = parse_qs(body.decode(), keep_blank_values=True)
        return Call(method, {name: values[0] for name, values in rows.items()})
    fields: dict[str, Any] = {}
    file, filename = b"", ""
    if content_type:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        for part in BytesParser(policy=policy.HTTP).parsebytes(head + body).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if part.get_filename():
                file, filename = content, str(part.get_filename())
            else:
                fields[name] = content.decode()
    return Call(method, fields, file, filename)
