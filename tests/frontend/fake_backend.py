"""A backend in this process: the same HTTP as the real one, as far as the page uses it."""

import base64
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ValidationError

from stenograf.contract.errors import (
    BadOptions,
    NotFound,
    OffsetMismatch,
    Overloaded,
    StenografError,
    TooLarge,
    Unauthorized,
    error_json,
)
from stenograf.contract.jobs import JobRequest

from ..local_server import Handler, LocalServer
from .fake_jobs import FakeJob, FakeJobs, render

EXPOSED = (
    "Location, Upload-Offset, Upload-Length, Upload-Expires, Tus-Resumable, Tus-Version, "
    "Tus-Extension, Tus-Max-Size, Retry-After, X-Request-Id, Content-Range"
)
READ_BYTES = 64 * 1024


@dataclass
class FakeUpload:
    length: int
    filename: str
    content: bytearray = field(default_factory=bytearray)
    writer: object = None  # the request that may append; a newer one takes over


@dataclass
class Faults:
    """What shall go wrong, and how often."""

    break_uploads_at: list[int] = field(default_factory=list)  # offsets where the wire breaks
    bytes_per_s: float = 0.0  # 0: as fast as it goes
    refuse_jobs: int = 0  # answers 429 so many times
    max_bytes: int = 10**9


class FakeBackend(LocalServer):
    """The server and its state."""

    def __init__(self, pace_s: float = 0.05) -> None:
        self.jobs = FakeJobs(pace_s)
        self.uploads: dict[str, FakeUpload] = {}
        self.faults = Faults()
        self.list_fails = False
        self.locked = False  # asks for a key that nobody has
        self.requests: list[str] = []
        backend = self

        class BoundHandler(_Handler):
            state = backend

        super().__init__(BoundHandler)


class _Handler(Handler):
    state: FakeBackend

    def _route(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query))
        self.state.requests.append(f"{self.command} {url.path}")
        try:
            if self.state.locked and self.command != "OPTIONS" and url.path.startswith("/v1/jobs"):
                raise Unauthorized("A key is needed")
            for method, pattern, action in _ROUTES:
                if method == self.command and (match := re.fullmatch(pattern, url.path)):
                    return action(self, *match.groups())
            raise NotFound(f"No route {self.command} {url.path}")
        except StenografError as error:
            self._discard_body()
            self._json(error.status, error_json(error, "test-request"), error.headers())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_HEAD = do_DELETE = do_OPTIONS = _route

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.send_header("Access-Control-Expose-Headers", EXPOSED)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._start(status, {"Content-Length": str(len(body)), **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = body.model_dump_json() if isinstance(body, BaseModel) else json.dumps(body)
        self._send(status, raw.encode(), {"Content-Type": "application/json", **(headers or {})})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _discard_body(self) -> None:
        if self.command in ("POST", "PATCH"):
            self.close_connection = True

    def options(self) -> None:
        self._send(
            204,
            b"",
            {
                "Access-Control-Allow-Methods": "GET, POST, HEAD, PATCH, DELETE, OPTIONS",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Tus-Resumable, "
                "Upload-Length, Upload-Offset, Upload-Metadata, Last-Event-ID",
                "Tus-Version": "1.0.0",
            },
        )

    def create_upload(self) -> None:
        length = int(self.headers["Upload-Length"])
        if length > self.state.faults.max_bytes:
            raise TooLarge("The file is larger than the setting allows")
        pairs = (pair.split(" ") for pair in self.headers["Upload-Metadata"].split(","))
        metadata = {name: base64.b64decode(value).decode() for name, value in pairs}
        upload_id = uuid.uuid4().hex[:20]
        self.state.uploads[upload_id] = FakeUpload(length, metadata["filename"])
        self._send(201, b"", {"Location": f"/files/{upload_id}", "Tus-Resumable": "1.0.0"})

    def _upload(self, upload_id: str) -> FakeUpload:
        try:
            return self.state.uploads[upload_id]
        except KeyError:
            raise NotFound("No such upload") from None

    def upload_offset(self, upload_id: str) -> None:
        upload = self._upload(upload_id)
        upload.writer = None
        self._send(
            200,
            b"",
            {
                "Upload-Offset": str(len(upload.content)),
                "Upload-Length": str(upload.length),
                "Tus-Resumable": "1.0.0",
                "Cache-Control": "no-store",
            },
        )

    def append(self, upload_id: str) -> None:
        upload = self._upload(upload_id)
        if int(self.headers["Upload-Offset"]) != len(upload.content):
            raise OffsetMismatch("The chunk does not start where the upload ends")
        left = int(self.headers["Content-Length"])
        faults = self.state.faults
        upload.writer = writer = object()
        while left:
            part = self.rfile.read1(min(left, READ_BYTES))  # type: ignore[attr-defined]
            if not part or upload.writer is not writer:
                self.close_connection = True
                return
            upload.content += part
            left -= len(part)
            if faults.bytes_per_s:
                time.sleep(len(part) / faults.bytes_per_s)
            if faults.break_uploads_at and len(upload.content) >= faults.break_uploads_at[0]:
                faults.break_uploads_at.pop(0)
                self.connection.close()
                return
        offset = {"Upload-Offset": str(len(upload.content)), "Tus-Resumable": "1.0.0"}
        self._send(204, b"", offset)

    def drop_upload(self, upload_id: str) -> None:
        self._upload(upload_id)
        del self.state.uploads[upload_id]
        self._send(204, b"", {"Tus-Resumable": "1.0.0"})

    def create_job(self) -> None:
        try:
            request = JobRequest.model_validate_json(self._body())
        except ValidationError as error:
            raise BadOptions(str(error)) from error
        if self.state.faults.refuse_jobs:
            self.state.faults.refuse_jobs -= 1
            raise Overloaded("The queue is full", retry_after_s=1)
        upload = self._upload(request.upload_id)
        content = bytes(upload.content)
        view = self.state.jobs.add(upload.filename, content, request.options, title=request.title)
        self._json(201, view, {"Location": f"/v1/jobs/{view.id}"})

    def list_jobs(self) -> None:
        if self.state.list_fails:
            raise StenografError("The list cannot be read")
        limit, skip = int(self.query.get("limit", 50)), int(self.query.get("cursor", 0))
        self._json(200, self.state.jobs.page(self.query.get("q", ""), limit, skip))

    def read_job(self, job_id: str) -> None:
        self._json(200, self.state.jobs.get(job_id).view)

    def delete_job(self, job_id: str) -> None:
        job = self.state.jobs.get(job_id)
        if self.query.get("purge") == "true":
            del self.state.jobs.jobs[job_id]
            return self._send(204, b"", {})
        self._json(200, self.state.jobs.cancel(job))

    def retry_job(self, job_id: str) -> None:
        self._json(200, self.state.jobs.retry(self.state.jobs.get(job_id)))

    def transcript(self, job_id: str) -> None:
        job = self.state.jobs.get(job_id)
        kind = self.query.get("format", "txt")
        body = self.state.jobs.transcript(job, partial=self.query.get("partial") == "true")
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self.query.get("download") == "true":
            headers["Content-Disposition"] = f'attachment; filename="text.{kind}"'
        self._send(200, render(body, kind).encode(), headers)

    def overview(self, job_id: str) -> None:
        self._json(200, self.state.jobs.overview(self.state.jobs.get(job_id)))

    def audio(self, job_id: str) -> None:
        content = self.state.jobs.get(job_id).content
        headers = {"Content-Type": "audio/wav", "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(match[1])
            last = min(int(match[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._send(206, content[first : last + 1], headers)
        self._send(200, content, headers)

    def events(self, job_id: str) -> None:
        job = self.state.jobs.get(job_id)
        self._start(
            200,
            {
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "Connection": "close",
            },
        )
        self.close_connection = True
        sent = int(self.query.get("last_event_id") or self.headers.get("Last-Event-ID") or 0)
        status = None
        cut = job.cut
        while not job.view.status.final or sent < len(job.windows):
            if job_id not in self.state.jobs.jobs:
                return  # removed meanwhile
            if job.cut != cut:
                cut, sent = job.cut, 0
                self._event("reset", "{}", 0)
            sent = self._news(job, sent)
            if job.view.status is not status:
                status = job.view.status
                self._event("status", job.view.model_dump_json())
            with job.changed:
                job.changed.wait(0.2)
        self._news(job, sent)
        self._event("done", job.view.model_dump_json())

    def _news(self, job: FakeJob, sent: int) -> int:
        for window in job.windows[sent:]:
            sent += 1
            self._event("window", window.model_dump_json(), sent)
        progress = {**job.view.progress.model_dump(mode="json"), "status": job.view.status}
        self._event("progress", json.dumps(progress))
        return sent

    def _event(self, name: str, data: str, number: int | None = None) -> None:
        head = f"id: {number}\n" if number is not None else ""
        self.wfile.write(f"event: {name}\n{head}data: {data}\n\n".encode())
        self.wfile.flush()

    def session(self) -> None:
        locked = self.state.locked
        self._json(200, {"key_required": locked, "signed_in": not locked})

    def ready(self) -> None:
        checks = self.state.jobs.checks
        good = set(checks.values()) == {"ok"}
        body = {"status": "ready" if good else "not_ready", "checks": checks}
        self._json(200 if good else 503, body)


_JOB = r"/v1/jobs/([^/]+)"
_ROUTES: list[tuple[str, str, Any]] = [
    ("OPTIONS", r"/.*", _Handler.options),
    ("POST", "/files/?", _Handler.create_upload),
    ("HEAD", "/files/([^/]+)", _Handler.upload_offset),
    ("PATCH", "/files/([^/]+)", _Handler.append),
    ("DELETE", "/files/([^/]+)", _Handler.drop_upload),
    ("POST", "/v1/jobs", _Handler.create_job),
    ("GET", "/v1/jobs", _Handler.list_jobs),
    ("GET", _JOB, _Handler.read_job),
    ("DELETE", _JOB, _Handler.delete_job),
    ("POST", _JOB + "/retry", _Handler.retry_job),
    ("GET", _JOB + "/transcript", _Handler.transcript),
    ("GET", _JOB + "/overview", _Handler.overview),
    ("GET", _JOB + "/audio", _Handler.audio),
    ("GET", _JOB + "/events", _Handler.events),
    ("GET", "/ready", _Handler.ready),
    ("GET", "/v1/session", _Handler.session),
]
