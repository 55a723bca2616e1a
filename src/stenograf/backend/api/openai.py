"""OpenAI's dialect: `/v1/audio/transcriptions`, `/v1/audio/translations`, `/v1/models`."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.ability import check_able, served_row
from stenograf.backend.api.intake import received
from stenograf.backend.api.openai_stream import events
from stenograf.backend.service import Service
from stenograf.contract.errors import StenografError
from stenograf.contract.jobs import JobRequest, JobView
from stenograf.contract.options import DEFAULT_LANGUAGE
from stenograf.httpanswers import openai_error, request_id_of
from stenograf.openai_audio import stream
from stenograf.openai_audio.answers import answer
from stenograf.openai_audio.fields import Fields
from stenograf.openai_audio.patient import patient_answer
from stenograf.openai_audio.request import LONG_FIELDS, AudioRequest, Task
from stenograf.patience import patient_events


def router(service: Service, default_language: str = DEFAULT_LANGUAGE) -> APIRouter:
    """Routes over `service`; who names no language speaks `default_language`, a code or auto."""
    api = APIRouter()

    @api.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        """A file in a form, its transcript in the answer."""
        return await _audio(service, request, "transcribe", default_language)

    @api.post("/v1/audio/translations")
    async def translate(request: Request) -> Response:
        """A file in a form, what was said in it in English in the answer."""
        return await _audio(service, request, "translate", default_language)

    @api.get("/v1/models")
    def models() -> dict[str, Any]:
        """What answers: the model service's list."""
        return {"object": "list", "data": [_model(row) for row in service.engine.models()]}

    @api.get("/v1/models/{model_id:path}")
    def model(model_id: str) -> dict[str, Any]:
        """One model, by its id or by one of OpenAI's names for the default one."""
        return _model(served_row(service, model_id))

    return api


async def _audio(service: Service, request: Request, task: Task, default_language: str) -> Response:
    """Take the recording, check all that is cheap to check, then wait for the job with patience."""
    async with received(service, request, max_field_bytes=LONG_FIELDS) as recording:
        fields = Fields(recording.form.values)
        asked = AudioRequest.of(fields, task=task, default_language=default_language)
        job = JobRequest(upload_id=recording.upload.id, options=asked.options)
        view = await run_in_threadpool(_submit, service, job)

    async def body() -> bytes:
        transcript = await service.result(view.id)
        return await run_in_threadpool(answer, transcript, asked)

    async def hold() -> None:
        await service.past_decoding(view.id)

    request_id = request_id_of(request)
    start_s = service.answer_start_s
    if not asked.stream:
        return await patient_answer(body(), asked, request_id, start_s=start_s, hold=hold)

    def failed(error: StenografError) -> bytes:
        return stream.error_event(openai_error(error, request_id))

    return await patient_events(
        events(service, view.id, asked),
        failed,
        ping=stream.PING,
        headers=stream.HEADERS,
        start_s=start_s,
        hold=hold,
    )


def _submit(service: Service, job: JobRequest) -> JobView:
    """Queue a job that the model service is ready for and able to do."""
    check_able(service, job.options)
    return service.submit(job)


def _model(row: dict[str, Any]) -> dict[str, Any]:
    return {"created": 0, "owned_by": "stenograf", **row, "object": "model"}
