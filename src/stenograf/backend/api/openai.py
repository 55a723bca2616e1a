"""OpenAI's dialect: `POST /v1/audio/transcriptions`, `GET /v1/models`."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.forms import Form
from stenograf.backend.api.intake import received
from stenograf.backend.api.patience import patient_json
from stenograf.backend.service import Service
from stenograf.backend.web import invalid_input, openai_shape
from stenograf.contract.errors import (
    BadOptions,
    ModelNotFound,
    StenografError,
    error_json,
)
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript
from stenograf.transcripts.writers import render, verbose

_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_GRANULARITIES = ("segment", "word")


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter()

    @api.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        """A file in a form, its transcript in the answer."""
        return await _transcribe(service, request)

    @api.get("/v1/models")
    def models() -> dict[str, Any]:
        """What answers: the model service's list."""
        return {"object": "list", "data": [_model(row) for row in service.engine.models()]}

    @api.get("/v1/models/{model_id:path}")
    def model(model_id: str) -> dict[str, Any]:
        """One model."""
        rows = [row for row in service.engine.models() if row["id"] == model_id]
        if not rows:
            raise ModelNotFound(f"There is no model called {model_id[:200]!r} here.", param="model")
        return _model(rows[0])

    return api


async def _transcribe(service: Service, request: Request) -> Response:
    async with received(service, request) as recording:
        asked = _Asked(recording.form)
        job = JobRequest(upload_id=recording.upload.id, options=asked.options)
        view = await run_in_threadpool(service.submit, job)
    if asked.format in ("json", "verbose_json"):

        async def work() -> bytes:
            transcript = await service.result(view.id)
            return await run_in_threadpool(_json_body, transcript, asked)

        return await patient_json(work(), _late_error(request))
    return _text_answer(await service.result(view.id), asked.format)


class _Asked:
    """The form's fields, checked. Raises BadOptions."""

    def __init__(self, form: Form) -> None:
        self.format = form.last("response_format", "json") or "json"
        if self.format not in _FORMATS:
            raise BadOptions(
                f"There is no response_format {self.format[:40]!r}.",
                hint=f"Choose one of: {', '.join(_FORMATS)}.",
                param="response_format",
            )
        self.granularities = form.all("timestamp_granularities") or ["segment"]
        for granularity in self.granularities:
            if granularity not in _GRANULARITIES:
                raise BadOptions(
                    f"There is no granularity {granularity[:40]!r}.",
                    hint="Choose segment, word or both.",
                    param="timestamp_granularities[]",
                )
        decode = {"prompt": form.last("prompt")}
        if form.last("language"):
            decode["language"] = form.last("language").lower()
        if form.last("temperature"):
            decode["temperature"] = form.last("temperature")
        try:
            self.options = TranscribeOptions.model_validate(
                {"decode": decode, "model": form.last("model")}
            )
        except ValidationError as error:
            raise invalid_input(_bare_names(error)) from None


def _bare_names(error: ValidationError) -> list[dict[str, Any]]:
    return [{"loc": row["loc"][-1:], "msg": row["msg"]} for row in error.errors()]


def _json_body(transcript: Transcript, asked: _Asked) -> bytes:
    shape = verbose(transcript, asked.granularities)
    if asked.format == "json":
        shape = {"text": shape["text"], "usage": shape["usage"]}
    return json.dumps(shape, ensure_ascii=False, allow_nan=False).encode()


def _text_answer(transcript: Transcript, format: str) -> Response:
    if format == "text":
        return Response(f"{transcript.text}\n", media_type="text/plain")
    rendered = render(transcript, format)
    return Response(rendered.body, media_type=rendered.media_type)


def _late_error(request: Request) -> Callable[[StenografError], dict[str, Any]]:
    def shape(error: StenografError) -> dict[str, Any]:
        fields = error_json(error, getattr(request.state, "request_id", None))["error"]
        return {"error": openai_shape(fields, error.status)}

    return shape


def _model(row: dict[str, Any]) -> dict[str, Any]:
    return {"created": 0, "owned_by": "stenograf", **row, "object": "model"}
