"""A backend of scripted moods: uploads are real, everything else does what a test tells it.

For what the real services do not do on demand: lose connections, forget uploads, fill queues.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stenograf.contract.errors import StenografError, error_json
from stenograf.contract.jobs import JobStatus, JobView, Progress, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Segment, Transcript
from stenograf.transcripts.writers import render

from .local_server import Handler, LocalServer


@dataclass
class Script:
    """What happens, and what happened."""

    drop_patches: int = 0  # connections lost in the middle of a PATCH
    refuse: deque[StenografError] = field(default_factory=deque)  # answers to POST /v1/jobs
    ending: JobStatus | None = JobStatus.COMPLETED  # None: the job never ends
    error: StenografError | None = None
    uploads: dict[str, bytearray] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    polled: int = 0
    text: str = "Привет, мир."

    def count(self, method: str, path: str) -> int:
        """How often a request came."""
        return sum(asked == (method, path) for asked in self.requests)


@contextmanager
def scripted_backend(script: Script) -> Iterator[str]:
    """Serve a script; gives the root URL."""
    with LocalServer(type("Handler", (_Handler,), {"script": script})) as server:
        yield server.url


class _Handler(Handler):
    script: Script

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def _refuse(self, error: StenografError) -> None:
        self._answer(error.status, json.dumps(error_json(error)).encode(), **error.headers())

    def _view(self) -> bytes:
        script = self.script
        status = JobStatus.RUNNING
        if script.polled > 1 and script.ending is not None:
            status = script.ending
        return (
            JobView(
                id="job1",
                status=status,
                title="",
                filename="",
                size_bytes=1,
                options=TranscribeOptions(),
                progress=Progress(stage=Stage.RECOGNIZING, done_s=3, total_s=12, eta_s=9),
                created_at=datetime.now(UTC),
                error=script.error.body() if script.error else None,
            )
            .model_dump_json()
            .encode()
        )

    def do_POST(self) -> None:
        script = self.script
        script.requests.append(("POST", self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/files":
            upload_id = f"u{len(script.uploads)}"
            script.uploads[upload_id] = bytearray()
            script.lengths[upload_id] = int(self.headers["Upload-Length"])
            script.names.append(self.headers["Upload-Metadata"])
            self._answer(201, Location=f"/files/{upload_id}")
        elif script.refuse:
            self._refuse(script.refuse.popleft())
        else:
            script.options.append(json.loads(body)["options"])
            self._answer(201, self._view())

    def do_HEAD(self) -> None:
        self.script.requests.append(("HEAD", self.path))
        upload_id = self.path.rsplit("/", 1)[-1]
        if upload_id not in self.script.uploads:
            self._answer(404)
        else:
            self._answer(200, Upload_Offset=str(len(self.script.uploads[upload_id])))

    def do_PATCH(self) -> None:
        script = self.script
        script.requests.append(("PATCH", self.path))
        stored = script.uploads[self.path.rsplit("/", 1)[-1]]
        length = int(self.headers["Content-Length"])
        if int(self.headers["Upload-Offset"]) != len(stored):
            self.rfile.read(length)
            self._answer(409)
        elif script.drop_patches > 0:
            script.drop_patches -= 1
            stored += self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
        else:
            stored += self.rfile.read(length)
            self._answer(204, Upload_Offset=str(len(stored)))

    def do_GET(self) -> None:
        self.script.requests.append(("GET", self.path.split("?")[0]))
        if self.path.startswith("/v1/jobs/job1/transcript"):
            segment = Segment(start=0, end=16_000, text=self.script.text)
            format = self.path.rsplit("=", 1)[-1]
            self._answer(200, render(Transcript(duration=16_000, segments=(segment,)), format).body)
        elif self.path.startswith("/v1/jobs/"):
            self.script.polled += 1
            self._answer(200, self._view())
        elif self.path == "/v1/models":
            model = {"id": "demo", "dtype": "float32", "device": "cpu", "embedded": True}
            self._answer(200, json.dumps({"data": [model]}).encode())
        else:
            self._answer(200, json.dumps({"status": "ok", "version": "1.2.3"}).encode())

    def do_DELETE(self) -> None:
        self.script.requests.append(("DELETE", self.path))
        self._answer(200, self._view())
