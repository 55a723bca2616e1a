"""The first version's dialect: `POST /get_answer/`, sound as JSON numbers, one text back.

Kept for its clients. A number costs ten bytes here and one or two in a file: new clients upload
through `/files`.
"""

import asyncio
import json
from typing import IO, Annotated

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from stenograf.backend.chunks import ChunkStore
from stenograf.backend.service import Service
from stenograf.contract.errors import BadOptions, StenografError, error_json
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import (
    CutOptions,
    NormalizeMethod,
    NormalizeOptions,
    TranscribeOptions,
)
from stenograf.contract.pcm import MAX_WINDOW_S, SAMPLE_RATE
from stenograf.httpanswers import invalid_input
from stenograf.patience import patient_json

_BODIES_AT_ONCE = 1  # a parsed body takes several times its bytes of memory
_METHODS: dict[str, NormalizeMethod] = {"peak": "peak", "rms": "rms", "lufs": "lufs"}
_Float = Annotated[float, Field(allow_inf_nan=False)]


class _Input(BaseModel):
    user_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    chunk: list[float]
    sending: bool = False
    target_dB: _Float = -10
    norm_algo: str = "rms"
    model_sr: Annotated[int, Field(ge=1, le=768_000)] = SAMPLE_RATE
    chunk_size_sec: Annotated[int, Field(le=86_400)] = MAX_WINDOW_S
    target_peak: _Float = 0.95
    original_sr: Annotated[int, Field(ge=1_000, le=768_000)] = SAMPLE_RATE

    def options(self) -> TranscribeOptions:
        """What the old parameters mean now; values beyond the sliders' ends count as the ends."""
        normalize = NormalizeOptions(
            method=_METHODS.get(self.norm_algo, "as is"),
            target_db=min(-10.0, max(-40.0, self.target_dB)),
            target_peak=min(1.0, max(1e-3, self.target_peak)),
        )
        cut = CutOptions(chunk_size_s=min(MAX_WINDOW_S, max(1, self.chunk_size_sec)))
        return TranscribeOptions(normalize=normalize, cut=cut)


def router(service: Service, chunks: ChunkStore) -> APIRouter:
    """The route over `service`; what is sent piece by piece waits in `chunks`."""
    api = APIRouter()
    parsing = asyncio.Semaphore(_BODIES_AT_ONCE)

    @api.post("/get_answer/")
    async def get_answer(request: Request) -> Response:
        """Take a chunk of samples; with `sending` false, transcribe all that came."""
        with chunks.scratch() as body:
            async for block in request.stream():
                await run_in_threadpool(body.write, block)
            async with parsing:
                given = await run_in_threadpool(_keep, body, chunks)
        if given.sending:
            return JSONResponse({"response": "", "status": 200})
        job = await run_in_threadpool(_upload, service, chunks, given)
        return await patient_json(_answer(service, job), error_json, start_s=service.answer_start_s)

    return api


def _keep(body: IO[bytes], chunks: ChunkStore) -> _Input:
    body.seek(0)
    try:
        given = _Input.model_validate_json(body.read())
    except ValidationError as error:
        raise invalid_input(error.errors(include_input=False, include_url=False)) from None
    samples = _samples(given.chunk)
    if samples.size:
        chunks.add(given.user_id, samples)
    return given.model_copy(update={"chunk": []})


def _samples(chunk: list[float]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        samples = np.asarray(chunk, np.float64).astype(np.float32)
    if not np.isfinite(samples).all():
        raise BadOptions("chunk: a sample is not a finite number.", param="chunk")
    return samples


def _upload(service: Service, chunks: ChunkStore, given: _Input) -> JobRequest:
    wav, n_bytes = chunks.take(given.user_id, given.original_sr)
    upload = service.uploads.create(
        n_bytes, {"filename": "get_answer.wav", "filetype": "audio/wav"}
    )
    try:
        service.uploads.append(upload.id, 0, wav)
    except StenografError:
        service.uploads.discard(upload.id)
        raise
    return JobRequest(upload_id=upload.id, options=given.options())


async def _answer(service: Service, job: JobRequest) -> bytes:
    transcript = await service.run_now(job)
    return json.dumps({"response": transcript.text, "status": 200}, ensure_ascii=False).encode()
