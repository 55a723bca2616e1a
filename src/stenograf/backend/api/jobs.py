"""Our own dialect: `/v1/jobs`, `/v1/options`."""

import mimetypes
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from stenograf.backend.api.disposition import disposition
from stenograf.backend.api.events import events
from stenograf.backend.api.text import punctuated_transcript, require_text, with_stages
from stenograf.backend.jobs import Content
from stenograf.backend.seats import EventStream
from stenograf.backend.service import Service
from stenograf.contract.jobs import JobPage, JobRequest, JobStatus, JobView, Overview
from stenograf.contract.options import TranscribeOptions
from stenograf.transcripts.writers import render

_SAFE_MEDIA_TYPE = re.compile(r"(audio|video)/[a-z0-9.+-]{1,60}")
_RANGE = re.compile(r"\s*(?:([0-9]{1,30})-([0-9]{0,30})|-[0-9]{1,30})\s*")


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter()
    _add_jobs(api, service)
    _add_results(api, service)

    @api.get("/v1/options")
    def options() -> dict[str, Any]:
        """JSON schema of the options: every knob with default, range and help."""
        return TranscribeOptions.model_json_schema()

    return api


def _add_jobs(api: APIRouter, service: Service) -> None:
    @api.post("/v1/jobs", status_code=201)
    def create(request: JobRequest) -> Response:
        """Queue a job for a complete upload."""
        view = service.submit(request)
        headers = {"Location": f"/v1/jobs/{view.id}"}
        return JSONResponse(view.model_dump(mode="json"), status_code=201, headers=headers)

    @api.get("/v1/jobs")
    def listing(
        q: Annotated[str, Query(max_length=200)] = "",
        status: JobStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str, Query(max_length=200)] = "",
    ) -> JobPage:
        """Jobs, newest first; `q` looks in title, file name and text."""
        return service.jobs.list(query=q, status=status, limit=limit, cursor=cursor)

    @api.get("/v1/jobs/{job_id}")
    def get(job_id: str) -> JobView:
        """One job."""
        return service.jobs.get(job_id)

    @api.delete("/v1/jobs/{job_id}")
    def delete(job_id: str, purge: bool = False) -> Response:
        """Cancel; with `purge` remove the recording, the transcript and the job too."""
        if purge:
            service.purge(job_id)
            return Response(status_code=204)
        return JSONResponse(service.cancel(job_id).model_dump(mode="json"))

    @api.post("/v1/jobs/{job_id}/retry")
    def retry(job_id: str) -> JobView:
        """Queue a failed or cancelled job again."""
        return service.retry(job_id)


def _add_results(api: APIRouter, service: Service) -> None:
    @api.get("/v1/jobs/{job_id}/events")
    async def job_events(
        job_id: str,
        last_event_id: Annotated[str, Header()] = "",
        replay_after: Annotated[str, Query(alias="last_event_id", max_length=20)] = "",
    ) -> EventStream:
        """Server-sent events: progress, windows as they finish, the end."""
        await service.topic(job_id)
        given = last_event_id or replay_after
        after = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
        return EventStream(service.seats, events(service, job_id, after))

    @api.get("/v1/jobs/{job_id}/transcript")
    def transcript(
        job_id: str,
        format: str = "json",
        partial: bool = False,
        download: bool = False,
        punctuated: bool = False,
        stages: bool = False,
        strict: bool = False,
    ) -> Response:
        """The transcript in one of the written formats.

        `punctuated`: as the language model punctuated it. `stages`: JSON formats also tell how
        each stage went and carry the texts. `strict`: failed text work is an error.
        """
        if strict:
            require_text(service, job_id)
        shown = service.transcript(job_id, partial=partial)
        if punctuated:
            shown = punctuated_transcript(service, job_id, shown)
        rendered = render(shown, format)
        if stages:
            rendered = with_stages(service, job_id, rendered)
        headers = {}
        if download:
            stem = service.jobs.get(job_id).filename.rpartition(".")[0] or "transcript"
            headers["Content-Disposition"] = disposition("attachment", stem, rendered.extension)
        return Response(rendered.body, media_type=rendered.media_type, headers=headers)

    @api.get("/v1/jobs/{job_id}/overview")
    def overview(job_id: str) -> Overview:
        """The drawn waveform and the levels."""
        return service.jobs.overview(job_id)

    @api.head("/v1/jobs/{job_id}/audio")
    @api.get("/v1/jobs/{job_id}/audio")
    def audio(job_id: str) -> Response:
        """The original recording; byte ranges are honoured."""
        path, content = service.audio(job_id)
        return _Recording(
            path,
            media_type=_media_type(content),
            headers={
                "Content-Disposition": disposition("inline", content.filename or "recording"),
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox; default-src 'none'",
            },
        )


class _Recording(FileResponse):
    """A file that comes as a whole to who asks for a range that is none, as HTTP has it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [
            header for header in scope["headers"] if header[0] != b"range" or _is_range(header)
        ]
        await super().__call__({**scope, "headers": given}, receive, send)


def _is_range(header: tuple[bytes, bytes]) -> bool:
    unit, _, ranges = header[1].decode("latin-1").partition("=")
    found = [_RANGE.fullmatch(part) for part in ranges.split(",")]
    return unit.strip() == "bytes" and all(
        one and (not one[2] or int(one[1]) <= int(one[2])) for one in found
    )


def _media_type(content: Content) -> str:
    """The claimed type, or the one the name suggests; only sound and video are ever said."""
    guessed, _ = mimetypes.guess_type(content.filename)
    for named in (content.media_type, guessed or ""):
        if _SAFE_MEDIA_TYPE.fullmatch(named):
            return named
    return "application/octet-stream"
