"""A program's way through the backend: send a file, follow its job, fetch the transcript.

The page's browser does the same in JavaScript; this is for the command line and the demo.
"""

import time
from collections.abc import Callable
from pathlib import Path

from stenograf.contract.errors import (
    Conflict,
    NetworkTimeout,
    Overloaded,
    StenografError,
    Unavailable,
    by_code,
)
from stenograf.contract.jobs import JobStatus, JobView
from stenograf.contract.options import TranscribeOptions
from stenograf.frontend.client import BackendClient
from stenograf.sender import OnBytes, Sender, ignore

_POLL_S = 0.3


class JobFailed(Exception):
    """A job ended without a transcript; `error` is what it ended with."""

    def __init__(self, error: StenografError) -> None:
        super().__init__(error.message)
        self.error = error


class Client(BackendClient):
    """`BackendClient` with uploads that resume and jobs that are waited for."""

    def __init__(
        self,
        endpoint: str,
        *,
        memory: Path | None = None,
        patience_s: float = 60.0,
        api_key: str = "",
    ) -> None:
        """Talk to the backend at `endpoint`; for `memory` and `patience_s` see Sender."""
        super().__init__(endpoint, api_key=api_key)
        self._sender = Sender(endpoint, memory, patience_s, api_key)
        self._patience_s = patience_s

    def submit(
        self,
        path: Path,
        options: TranscribeOptions,
        *,
        on_bytes: OnBytes = ignore,
        on_full: Callable[[], None] = ignore,
    ) -> JobView:
        """Send a file and queue it; while the queue is full, wait as long as the server asks.

        Raises OSError when the file cannot be read, and what the server says.
        """
        upload_id = self._sender.send(path, on_bytes)
        while True:
            try:
                job = self.create(upload_id, options, path.name[:300])
            except Overloaded as error:
                on_full()
                time.sleep(error.retry_after_s or 5.0)
            else:
                self._sender.forget(path)
                return job

    def wait(self, job_id: str, on_view: Callable[[JobView], None] = ignore) -> JobView:
        """Follow a job until it is completed.

        Raises JobFailed when it ends otherwise, and Unavailable or NetworkTimeout when the
        backend stays away for longer than the patience given.
        """
        heard = time.monotonic()
        while True:
            try:
                view = self.job(job_id)
            except (Unavailable, NetworkTimeout):
                if time.monotonic() - heard > self._patience_s:
                    raise
            else:
                heard = time.monotonic()
                on_view(view)
                if view.status is JobStatus.COMPLETED:
                    return view
                if view.status.final:
                    raise JobFailed(_reason(view))
            time.sleep(_POLL_S)

    def transcript(self, job_id: str, format: str) -> bytes:
        """The finished transcript as a file in `format`."""
        path = f"/v1/jobs/{job_id}/transcript"
        return self._call("GET", path, params={"format": format}).content


def _reason(view: JobView) -> StenografError:
    if view.error is None:
        return Conflict(f"The job was {view.status.value}.")
    kind = by_code(view.error.code)
    return kind(view.error.message, hint=view.error.hint, param=view.error.param)
