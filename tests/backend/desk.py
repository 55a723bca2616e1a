"""The backend in process, with its lifespan running, as a client sees it."""

import threading
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from stenograf.backend.app import House, create_app
from stenograf.settings import BackendSettings

from ..waiting import until as until

NO_VAD = {"cut": {"vad": False, "chunk_size_s": 2}}


class Desk:
    """`create_app` under httpx; use as a context manager."""

    def __init__(self, data_dir: Path, llm: str, **settings: Any) -> None:
        values = {
            "data_dir": data_dir,
            "llm_endpoint": llm,
            "min_free_bytes": 0,
            "retry_scale": 0.0,
            "workers": 1,  # few enough to count what waits
            "short_workers_s": "0",
            "windows_in_flight": 2,
            "_env_file": None,
            **settings,
        }
        self.app = create_app(BackendSettings(**values))
        self.http = TestClient(self.app, raise_server_exceptions=False)

    @property
    def house(self) -> House:
        """The parts."""
        house: House = self.app.state.house
        return house

    def __enter__(self) -> "Desk":
        self.http.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self.http.__exit__(*failure)

    def upload(self, content: bytes, filename: str = "запись.wav") -> str:
        """A complete upload's id."""
        uploads = self.house.service.uploads
        upload = uploads.create(len(content), {"filename": filename, "filetype": "audio/wav"})
        if content:
            uploads.append(upload.id, 0, [content])
        return upload.id

    def submit(self, content: bytes, options: Any = NO_VAD, **more: Any) -> dict[str, Any]:
        """A queued job for a recording."""
        body = {"upload_id": self.upload(content), "options": options, **more}
        answer = self.http.post("/v1/jobs", json=body)
        assert answer.status_code == 201, answer.text
        view: dict[str, Any] = answer.json()
        return view

    def job(self, job_id: str) -> dict[str, Any]:
        """A job now."""
        view: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        return view

    def wait(self, job_id: str, *statuses: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """The job once it has one of `statuses`, by default a final one."""
        wanted = statuses or ("completed", "failed", "cancelled")
        deadline = time.monotonic() + timeout_s
        while (view := self.job(job_id))["status"] not in wanted:
            assert time.monotonic() < deadline, view
            time.sleep(0.03)
        return view

    def events(self, job_id: str, timeout_s: float = 120.0, **how: Any) -> str:
        """The events of a job to their end, which comes early where the job does not end."""
        too_late = threading.Timer(timeout_s, self.house.service.hub.close)
        too_late.start()
        try:
            return self.http.get(f"/v1/jobs/{job_id}/events", **how).text
        finally:
            too_late.cancel()
