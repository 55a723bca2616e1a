"""The page's view of the backend: typed answers, typed errors, bounded waiting."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, ValidationError

from stenograf.contract.errors import (
    ErrorBody,
    NetworkTimeout,
    NotFound,
    StenografError,
    Unavailable,
    by_code,
)
from stenograf.contract.jobs import JobPage, JobRequest, JobStatus, JobView
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.session import SESSION_COOKIE, SessionState

Body = TypeVar("Body", bound=BaseModel)

_SESSION = re.compile(r"[A-Za-z0-9._-]{1,200}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0


class BackendClient:
    """Calls one backend; safe to share between threads as long as nobody closes it.

    Every method raises the class of `contract.errors` that the backend named, `Unavailable` when
    it cannot be reached and `NetworkTimeout` when it does not answer in time.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
        api_key: str = "",
        session: str = "",
    ) -> None:
        """Talk to the backend at `endpoint` with an API key or a visitor's session, if any."""
        self._endpoint = endpoint.rstrip("/")
        self._timeouts_s = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._headers = {"Accept": "application/json"}
        if api_key:
            self._headers["X-API-Key"] = api_key  # a ~/.netrc would replace Authorization
        if _SESSION.fullmatch(session):
            self._headers["Cookie"] = f"{SESSION_COOKIE}={session}"

    def jobs(
        self,
        query: str = "",
        *,
        status: JobStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """Past and present jobs, newest first; `query` searches title, file name and text."""
        asked = {"q": query, "status": status, "limit": limit, "cursor": cursor}
        params = {name: str(value) for name, value in asked.items() if value not in ("", None)}
        return _read(JobPage, self._call("GET", "/v1/jobs", params=params))

    def create(self, upload_id: str, options: TranscribeOptions, title: str = "") -> JobView:
        """Queue a finished upload for recognition."""
        request = JobRequest(upload_id=upload_id, options=options, title=title)
        body = request.model_dump(mode="json")
        return _read(JobView, self._call("POST", "/v1/jobs", json=body))

    def job(self, job_id: str) -> JobView:
        """One job."""
        return _read(JobView, self._call("GET", f"/v1/jobs/{_segment(job_id)}"))

    def cancel(self, job_id: str) -> JobView:
        """Stop an active job; what was recognized so far stays readable."""
        return _read(JobView, self._call("DELETE", f"/v1/jobs/{_segment(job_id)}"))

    def purge(self, job_id: str) -> None:
        """Remove a job with its audio and its transcript, for good."""
        self._call("DELETE", f"/v1/jobs/{_segment(job_id)}", params={"purge": "true"})

    def retry(self, job_id: str) -> JobView:
        """Queue a failed or cancelled job again; windows already recognized are kept."""
        return _read(JobView, self._call("POST", f"/v1/jobs/{_segment(job_id)}/retry"))

    def session(self) -> SessionState:
        """Whether the backend asks for a key, and whether ours is good."""
        return _read(SessionState, self._call("GET", "/v1/session"))

    def readiness(self) -> dict[str, Any]:
        """`/ready` as it is, whether it says 200 or 503: which dependency works and which not."""
        response = self._send("GET", "/ready")
        if response.status_code not in (200, 503):
            raise _error(response)
        return _json_object(response)

    def _call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        response = self._send(method, path, **kwargs)
        if not response.ok:
            raise _error(response)
        return response

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        try:
            return requests.request(
                method,
                self._endpoint + path,
                timeout=self._timeouts_s,
                headers=self._headers,
                allow_redirects=False,
                **kwargs,
            )
        except requests.ReadTimeout as error:
            raise NetworkTimeout(f"The backend at {self._endpoint} did not answer in time") from (
                error
            )
        except requests.RequestException as error:
            raise Unavailable(f"The backend at {self._endpoint} cannot be reached") from error


def browser_address(endpoint: str, public_url: str) -> dict[str, str | int]:
    """How a browser reaches the backend: `public_url`, else a port on the page's own host."""
    url = urlsplit(endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"url": public_url.rstrip("/"), "port": port}


def _segment(job_id: str) -> str:
    # The id comes from the page's address: nothing in it may change the route.
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound("There is no such job")
    return job_id


def _json_object(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {}


def _read(model: type[Body], response: requests.Response) -> Body:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise Unavailable(
            "The backend answered something this page does not understand",
            hint="Are the page and the backend of the same version?",
        ) from error


def _error(response: requests.Response) -> StenografError:
    raw: Any = _json_object(response).get("error")
    if not isinstance(raw, Mapping):
        return Unavailable(f"The backend answered with HTTP status {response.status_code}")
    try:
        body = ErrorBody.model_validate(raw)
    except ValidationError:
        return Unavailable(f"The backend answered with HTTP status {response.status_code}")
    retry_after = response.headers.get("Retry-After", "")
    return by_code(body.code)(
        body.message,
        hint=body.hint,
        param=body.param,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )
