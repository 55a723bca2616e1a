"""A language model on the transcript of a job: `/v1/jobs/{id}/text`, and whether there is one."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from stenograf.backend.seats import EventStream
from stenograf.backend.service import Service
from stenograf.backend.textapply import punctuated
from stenograf.backend.textwork import TextWork
from stenograf.contract.errors import (
    BadOptions,
    ErrorBody,
    NotFound,
    StenografError,
    by_code,
    error_json,
)
from stenograf.contract.text import StageState, TextRequest, TextTask, TextView
from stenograf.contract.transcript import Transcript
from stenograf.patience import patient_json
from stenograf.transcripts.writers import Rendered

_PING_S = 10.0


class TextAsk(TextRequest):
    """Body of `POST /v1/jobs/{id}/text`."""

    wait: bool = Field(True, description="answer with the result; false answers at once, with 202")
    stream: bool = Field(
        False, description="answer with server-sent events: state, delta, reset, done"
    )


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter()
    text = service.text

    @api.get("/v1/capabilities")
    def capabilities() -> dict[str, Any]:
        """What this installation can do beyond transcription."""
        tasks = [task.value for task in TextTask if task is not TextTask.NONE]
        shown = {"configured": text.configured, "model": text.model, "tasks": tasks}
        return {"text": shown}

    @api.get("/v1/jobs/{job_id}/text")
    def listing(job_id: str) -> dict[str, list[TextView]]:
        """All text work of a job, newest first."""
        return {"data": text.list(job_id)}

    @api.post("/v1/jobs/{job_id}/text")
    async def ask(job_id: str, body: TextAsk, request: Request) -> Response:
        """Work on a finished transcript; the same request again gives the stored result."""
        view = await text.ask(job_id, TextRequest(**body.model_dump(exclude={"wait", "stream"})))
        if body.stream or "text/event-stream" in request.headers.get("accept", ""):
            return EventStream(service.seats, _events(text, job_id, view.id))
        if not body.wait:
            headers = {"Location": f"/v1/jobs/{job_id}/text/{view.id}"}
            return JSONResponse(view.model_dump(mode="json"), status_code=202, headers=headers)
        return await patient_json(
            _outcome(text, job_id, view.id, strict=body.strict),
            lambda error: error_json(error, getattr(request.state, "request_id", None)),
        )

    @api.get("/v1/jobs/{job_id}/text/{text_id}")
    def get(job_id: str, text_id: str) -> TextView:
        """One piece of text work."""
        return text.get(job_id, text_id)

    @api.get("/v1/jobs/{job_id}/text/{text_id}/events")
    async def events(job_id: str, text_id: str) -> EventStream:
        """Its text as it grows, as server-sent events: state, delta, reset, done."""
        await run_in_threadpool(text.get, job_id, text_id)
        return EventStream(service.seats, _events(text, job_id, text_id))

    @api.delete("/v1/jobs/{job_id}/text/{text_id}")
    def cancel(job_id: str, text_id: str) -> TextView:
        """Cancel; what is finished stays."""
        return text.cancel(job_id, text_id)

    return api


def require_text(service: Service, job_id: str) -> None:
    """Raise what text work that came with a job failed with. Raises NotFound."""
    for view in service.text.list(job_id):
        if view.with_job and view.state is StageState.FAILED and view.error is not None:
            raise _error_in(view.error)


def punctuated_transcript(service: Service, job_id: str, transcript: Transcript) -> Transcript:
    """The transcript as a language model punctuated it. Raises NotFound when none did."""
    passages = service.text.passages(job_id, TextTask.PUNCTUATION)
    if passages is None:
        raise NotFound(
            "Nobody has punctuated this transcript.",
            hint=f'POST /v1/jobs/{job_id}/text with {{"task": "punctuation"}} first.',
            param="punctuated",
        )
    return punctuated(transcript, passages)


def with_stages(service: Service, job_id: str, rendered: Rendered) -> Rendered:
    """A JSON transcript that also tells how each stage went; other formats cannot.

    Raises BadOptions for those.
    """
    if rendered.extension != "json":
        raise BadOptions("Only JSON formats can carry the stages.", param="stages")
    shape = json.loads(rendered.body)
    stages = service.jobs.get(job_id).stages
    shape["stages"] = {name: stage.model_dump(mode="json") for name, stage in stages.items()}
    shape["texts"] = [view.model_dump(mode="json") for view in service.text.list(job_id)]
    body = json.dumps(shape, ensure_ascii=False, allow_nan=False).encode()
    return replace(rendered, body=body)


def _error_in(body: ErrorBody) -> StenografError:
    return by_code(body.code)(body.message, hint=body.hint, param=body.param)


async def _outcome(text: TextWork, job_id: str, text_id: str, *, strict: bool) -> bytes:
    view = await text.outcome(job_id, text_id)
    if strict and view.error is not None:
        raise _error_in(view.error)
    return view.model_dump_json().encode()


async def _events(text: TextWork, job_id: str, text_id: str) -> AsyncGenerator[bytes]:
    """Every change from now on; deltas since the last reset, joined, are the text."""
    yield b"retry: 2000\n\n"
    shown: TextView | None = None
    async with aclosing(text.follow(job_id, text_id)) as views:
        coming = asyncio.ensure_future(anext(views))
        try:
            while True:
                await asyncio.wait({coming}, timeout=_PING_S)
                if not coming.done():
                    yield b": ping\n\n"
                    continue
                try:
                    view = coming.result()
                except (StopAsyncIteration, NotFound):  # ended, or removed meanwhile
                    return
                for message in _changes(view, shown):
                    yield message
                shown = view
                coming = asyncio.ensure_future(anext(views))
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, StenografError):
                await coming


def _changes(view: TextView, before: TextView | None) -> list[bytes]:
    messages = []
    bare = view.model_copy(update={"text": ""})
    if before is None or bare != before.model_copy(update={"text": ""}):
        messages.append(_event("state", bare.model_dump_json()))
    known = before.text if before is not None else ""
    if not view.text.startswith(known):
        messages.append(_event("reset", "{}"))
        known = ""
    if len(view.text) > len(known):
        delta = json.dumps({"text": view.text[len(known) :]}, ensure_ascii=False)
        messages.append(_event("delta", delta))
    if view.state.final:
        messages.append(_event("done", view.model_dump_json()))
    return messages


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
