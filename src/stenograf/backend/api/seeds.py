"""Two small speech services that this one takes the place of: a Telegram bot's and an STT API.

Both call `POST /transcribe`; its answer has the fields of both.
"""

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from stenograf.backend.api.asr import PARTS
from stenograf.backend.api.dialect import late, route_class, sentence, with_detail
from stenograf.backend.api.given import Given, options_of
from stenograf.backend.api.intake import received
from stenograf.backend.api.outcome import json_outcome, submitted
from stenograf.backend.service import Service
from stenograf.contract.errors import BadOptions, StenografError, UndecodableAudio
from stenograf.contract.jobs import JobRequest, JobView
from stenograf.contract.options import DEFAULT_LANGUAGE
from stenograf.contract.text import MAX_INSTRUCTION_CHARS, TextTask
from stenograf.contract.transcript import Transcript

_FILE = ("file", *PARTS)
_DEFAULT_INSTRUCTION = "Кратко перескажи этот текст."


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter(route_class=route_class(_error))

    @api.post("/transcribe")
    async def transcribe(request: Request) -> Response:
        """A recording in a form, its text in the answer."""
        asked = await _submit(service, request)

        async def body(transcript: Transcript) -> bytes:
            return _dumped(_result(transcript, asked.job))

        return await json_outcome(service, asked.job.id, body, late(_error, request))

    @api.post("/transcribe_simple")
    async def transcribe_simple(request: Request) -> Response:
        """The text alone."""
        asked = await _submit(service, request)

        async def body(transcript: Transcript) -> bytes:
            return _dumped({"text": transcript.text})

        return await json_outcome(service, asked.job.id, body, late(_error, request))

    @api.post("/transcribe-and-process")
    async def transcribe_and_process(request: Request) -> Response:
        """The text, and what a language model makes of it by `instruction`."""
        asked = await _submit(service, request)

        async def body(transcript: Transcript) -> bytes:
            shape = {
                "success": True,
                "stt_result": _result(transcript, asked.job),
                "vllm_result": await _processed(service, transcript, asked.instruction),
            }
            return _dumped(shape)

        return await json_outcome(service, asked.job.id, body, late(_error, request))

    return api


@dataclass(frozen=True)
class _Asked:
    job: JobView
    instruction: str


async def _submit(service: Service, request: Request) -> _Asked:
    async with received(service, request, _FILE) as recording:
        given = Given(request.query_params, recording.form)
        instruction = given.text("instruction") or _DEFAULT_INSTRUCTION
        if len(instruction) > MAX_INSTRUCTION_CHARS:
            raise BadOptions(
                f"The instruction has {len(instruction)} characters.",
                hint=f"At most {MAX_INSTRUCTION_CHARS} are taken.",
                param="instruction",
            )
        options = options_of(decode={"language": given.language(DEFAULT_LANGUAGE)})
        if not recording.upload.offset:
            raise UndecodableAudio("The file is empty.", hint="Check it and send it again.")
        job = JobRequest(upload_id=recording.upload.id, options=options)
        return _Asked(await submitted(service, job), instruction)


def _result(transcript: Transcript, job: JobView) -> dict[str, Any]:
    return {
        "success": True,
        "text": transcript.text,
        "language": transcript.language,
        "segments_count": len(transcript.segments),
        "audio_path": job.filename,
    }


async def _processed(service: Service, transcript: Transcript, instruction: str) -> dict[str, Any]:
    """What the language model made of the text; its failure is told and costs nothing else."""
    shape = {"original_text": transcript.text, "instruction": instruction}
    if not transcript.text:
        return {"success": False, **shape, "error": "There is no text: nothing was said."}
    passages = [segment.text for segment in transcript.segments]
    try:
        made = await service.text.process(
            passages, TextTask.INSTRUCTION, instruction, transcript.language
        )
    except StenografError as error:
        return {"success": False, **shape, "error": sentence(error)}
    return {"success": True, **shape, "processed_text": made.text}


def _dumped(shape: dict[str, Any]) -> bytes:
    return json.dumps(shape, ensure_ascii=False, allow_nan=False).encode()


def _error(error: StenografError, request_id: str | None) -> dict[str, Any]:
    return {"success": False, **with_detail(error, request_id)}
