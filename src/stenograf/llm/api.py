"""The routes of the model service. The event loop only waits: sound and model work in threads."""

import asyncio
import time
from typing import Annotated, Any

import anyio
import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

import stenograf
from stenograf.contract.errors import BadRequest, Cancelled
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import Waveform
from stenograf.llm import render
from stenograf.llm.engines.base import EngineOptions, WindowResult
from stenograf.llm.form import check_model, parse
from stenograf.llm.http import invalid_input, too_large
from stenograf.llm.models import ModelHost, ModelState
from stenograf.llm.sound import cut, read_waveform

_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 64 * 1024
_DECODERS = 4  # bodies decoded at the same time

Sample = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class Chunk(BaseModel):
    """Body of `POST /inference/`: 16 kHz mono samples."""

    chunk: list[Sample]


class ModelApi:
    """Handlers over one model host."""

    def __init__(
        self, host: ModelHost, *, name: str, max_upload_bytes: int, max_audio_s: float
    ) -> None:
        self._host = host
        self._name = name
        self._max_upload_bytes = max_upload_bytes
        self._max_audio_s = max_audio_s
        self._created = int(time.time())
        self._decoders: anyio.CapacityLimiter | None = None

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        router.add_api_route("/v1/audio/transcriptions", self.transcriptions, methods=["POST"])
        router.add_api_route("/v1/models", self.models, methods=["GET"])
        router.add_api_route("/v1/models/{model:path}", self.model, methods=["GET"])
        router.add_api_route("/inference/", self.inference, methods=["POST"])
        router.add_api_route("/health", self.health, methods=["GET"])
        router.add_api_route("/ready", self.ready, methods=["GET"])
        return router

    async def transcriptions(self, request: Request) -> Response:
        """OpenAI's transcription: multipart form in; json, verbose_json or text out."""
        capabilities, _ = self._host.ready()
        self._check_length(request)
        async with _form(request) as form:
            asked = parse(form, capabilities)
            waveform = await self._in_thread(read_waveform, asked.file.file, self._max_audio_s)
        recognized = await self._recognize(request, waveform, asked.options)
        if asked.response_format == "text":
            return PlainTextResponse(render.text_of(recognized) + "\n")
        if asked.response_format == "json":
            return JSONResponse(render.plain_json(recognized, waveform.shape[0]))
        return JSONResponse(
            render.verbose_json(
                recognized, waveform.shape[0], asked.options.decode, asked.with_words
            )
        )

    async def inference(self, request: Request) -> dict[str, str]:
        """The first version's dialect: `{"chunk": [floats]}` in, `{"response": text}` out."""
        capabilities, _ = self._host.ready()
        self._check_length(request)
        waveform = await self._in_thread(_read_chunk, await request.body())
        decode = DecodeOptions(language=capabilities.default_language, word_timestamps=False)
        recognized = await self._recognize(request, waveform, EngineOptions(decode=decode))
        return {"response": render.text_of(recognized)}

    async def models(self) -> dict[str, Any]:
        """The one model of this service."""
        return {"object": "list", "data": [self._describe()]}

    async def model(self, model: str) -> dict[str, Any]:
        """The same, by its name or an alias."""
        capabilities, _ = self._host.ready()
        check_model(model, capabilities)
        return self._describe()

    async def health(self) -> dict[str, str | None]:
        """The process is alive, whatever the model does; the engine is named once it is loaded."""
        return {
            "status": "ok",
            "service": "llm",
            "version": stenograf.__version__,
            **self._engine(),
        }

    async def ready(self) -> JSONResponse:
        """200 once the model answers; until then 503 with progress or the reason."""
        status = self._host.status
        body = {
            "status": str(status.state),
            "progress": round(status.progress, 3),
            "detail": status.detail,
            "model": self._describe()["id"],
            **self._engine(),
        }
        return JSONResponse(body, status_code=200 if status.state.answers else 503)

    def _engine(self) -> dict[str, str | None]:
        known = self._host.status.capabilities
        return {
            "engine": known.engine if known else None,
            "engine_reason": known.engine_reason if known else None,
        }

    def _describe(self) -> dict[str, Any]:
        status = self._host.status
        known = status.capabilities
        return {
            "id": known.model if known else self._name,
            "object": "model",
            "created": self._created,
            "owned_by": "stenograf",
            "state": str(status.state),
            "loaded": status.state is ModelState.READY,
            "embedded": known.embedded if known else None,
            "dtype": known.dtype if known else None,
            "device": known.device if known else None,
            "languages": list(known.languages) if known else None,
        }

    def _check_length(self, request: Request) -> None:
        """Refuse an announced body before a byte of it is read."""
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_upload_bytes:
            raise too_large(self._max_upload_bytes)

    async def _in_thread(self, function: Any, *args: Any) -> Waveform:
        if self._decoders is None:
            self._decoders = anyio.CapacityLimiter(_DECODERS)
        waveform: Waveform = await anyio.to_thread.run_sync(function, *args, limiter=self._decoders)
        return waveform

    async def _recognize(
        self, request: Request, waveform: Waveform, options: EngineOptions
    ) -> list[tuple[int, WindowResult]]:
        """Windows one after the other; a client that hangs up ends the work."""
        capabilities, batcher = self._host.ready()
        gone = asyncio.ensure_future(_disconnected(request))
        recognized: list[tuple[int, WindowResult]] = []
        try:
            for offset, window in cut(waveform, capabilities.max_window_samples):
                answer = asyncio.wrap_future(batcher.submit(window, options))
                both: set[asyncio.Future[Any]] = {answer, gone}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    answer.cancel()
                    raise Cancelled("The client went away.")
                recognized.append((offset, answer.result()))
        finally:
            gone.cancel()
        return recognized


class _form:
    """The parsed multipart form of a request, its temporary files removed at the end."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._form: FormData | None = None

    async def __aenter__(self) -> FormData:
        if not self._request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise BadRequest(
                "The body is not a form.", hint="Send multipart/form-data with a part named file."
            )
        try:
            self._form = await self._request.form(
                max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
            )
        except MultiPartException as exc:
            raise BadRequest(f"The form cannot be read: {exc.message}") from exc
        return self._form

    async def __aexit__(self, *_: object) -> None:
        if self._form is not None:
            await self._form.close()


def _read_chunk(body: bytes) -> Waveform:
    try:
        return np.asarray(Chunk.model_validate_json(body).chunk, dtype=np.float32)
    except ValidationError as exc:
        raise invalid_input(list(exc.errors(include_input=False, include_context=False))) from exc


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
