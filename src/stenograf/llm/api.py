"""The routes of the model service. The event loop only waits: sound and model work in threads."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, ValidationError

import stenograf
from stenograf.contract.errors import StenografError
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.contract.pcm import Waveform
from stenograf.httpanswers import invalid_input, openai_error, request_id_of
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.flight import in_order
from stenograf.llm.form import check_model, engine_options, sound_form
from stenograf.llm.models import ModelHost, ModelState
from stenograf.llm.render import Heard, Joined
from stenograf.llm.sound import cut, read_waveform
from stenograf.openai_audio import stream
from stenograf.openai_audio.answers import answer, answer_shape, as_json
from stenograf.openai_audio.names import RECORDING_HEADER
from stenograf.openai_audio.patient import patient_answer
from stenograf.openai_audio.request import AudioRequest, Task
from stenograf.patience import patient_events

_DECODERS = 4  # bodies decoded at the same time
_MAX_NAME = 100
_HEAD_START_S = 0.1  # who reads along wants the first window's text before that of a batch

Sample = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class Chunk(BaseModel):
    """Body of `POST /inference/`: 16 kHz mono samples."""

    chunk: list[Sample]


class ModelApi:
    """Handlers over one model host."""

    def __init__(
        self,
        host: ModelHost,
        *,
        name: str,
        default_language: str,
        max_audio_s: float,
        answer_start_s: float,
    ) -> None:
        self._host = host
        self._name = name
        self._default_language = default_language
        self._answer_start_s = answer_start_s
        self._max_audio_s = max_audio_s
        self._created = int(time.time())
        self._decoders: anyio.CapacityLimiter | None = None

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        router.add_api_route("/v1/audio/transcriptions", self.transcriptions, methods=["POST"])
        router.add_api_route("/v1/audio/translations", self.translations, methods=["POST"])
        router.add_api_route("/v1/models", self.models, methods=["GET"])
        router.add_api_route("/v1/models/{model:path}", self.model, methods=["GET"])
        router.add_api_route("/inference/", self.inference, methods=["POST"])
        router.add_api_route("/health", self.health, methods=["GET"])
        router.add_api_route("/ready", self.ready, methods=["GET"])
        return router

    async def transcriptions(self, request: Request) -> Response:
        """OpenAI's transcription: a sound of any length in, any of OpenAI's formats out."""
        return await self._audio(request, "transcribe")

    async def translations(self, request: Request) -> Response:
        """OpenAI's translation: the same, in English."""
        return await self._audio(request, "translate")

    async def _audio(self, request: Request, task: Task) -> Response:
        capabilities, _ = self._host.ready()
        async with sound_form(request) as (file, fields):
            default = capabilities.language_or_default(self._default_language)
            asked = AudioRequest.of(fields, task=task, default_language=default)
            check_model(asked.options.model, capabilities)
            capabilities.check(asked.options.decode)
            waveform = await self._in_thread(read_waveform, file, self._max_audio_s)
        head_start_s = _HEAD_START_S if asked.stream else 0.0
        windows = self._windows(request, waveform, engine_options(asked), head_start_s)
        work = _Work(asked, waveform.shape[0], windows)
        if not asked.stream:
            return await patient_answer(
                work.answer(), asked, request_id_of(request), start_s=self._answer_start_s
            )

        def failed(error: StenografError) -> bytes:
            return stream.error_event(openai_error(error, request_id_of(request)))

        return await patient_events(
            work.events(),
            failed,
            ping=stream.PING,
            headers=stream.HEADERS,
            start_s=self._answer_start_s,
        )

    async def inference(self, request: Request) -> dict[str, str]:
        """The first version's dialect: `{"chunk": [floats]}` in, `{"response": text}` out."""
        capabilities, _ = self._host.ready()
        waveform = await self._in_thread(_read_chunk, await request.body())
        decode = DecodeOptions(language=capabilities.default_language, word_timestamps=False)
        windows = self._windows(request, waveform, EngineOptions(decode=decode))
        joined = await _joined(windows, waveform.shape[0], TranscribeOptions(decode=decode))
        return {"response": joined.transcript().text}

    async def models(self) -> dict[str, Any]:
        """The one model of this service."""
        return {"object": "list", "data": [self._describe()]}

    async def model(self, model: str) -> dict[str, Any]:
        """The same, by its name or an alias."""
        capabilities, _ = self._host.ready()
        check_model(model, capabilities)
        return self._describe()

    async def health(self) -> dict[str, str | int | None]:
        """The process is alive, whatever the model does; the engine is told once it is loaded."""
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

    def _engine(self) -> dict[str, str | int | None]:
        status = self._host.status
        known, batch = status.capabilities, status.batch
        return {
            "engine": known.engine if known else None,
            "engine_reason": known.engine_reason if known else None,
            "max_batch": batch.windows if batch else None,
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
            "fingerprint": (known.fingerprint or None) if known else None,
            "dtype": known.dtype if known else None,
            "device": known.device if known else None,
            "languages": list(known.languages) if known else None,
            "tasks": list(known.tasks) if known else None,
            "logprobs": True,
        }

    async def _in_thread(self, function: Any, *args: Any) -> Waveform:
        if self._decoders is None:
            self._decoders = anyio.CapacityLimiter(_DECODERS)
        waveform: Waveform = await anyio.to_thread.run_sync(function, *args, limiter=self._decoders)
        return waveform

    async def _windows(
        self,
        request: Request,
        waveform: Waveform,
        options: EngineOptions,
        head_start_s: float = 0.0,
    ) -> AsyncGenerator[Heard]:
        """Windows in order; a client that leaves ends the work."""
        capabilities, batcher = self._host.ready()
        recording = request.headers.get(RECORDING_HEADER, "")[:_MAX_NAME] or uuid.uuid4().hex
        windows = cut(waveform, capabilities.max_window_samples)
        gone = asyncio.ensure_future(_disconnected(request))
        heard = in_order(batcher, windows, options, recording, gone, head_start_s=head_start_s)
        try:
            async with aclosing(heard):
                async for window in heard:
                    yield window
        finally:
            gone.cancel()


@dataclass
class _Work:
    """One request's recognition, as a whole or piece by piece."""

    asked: AudioRequest
    n_samples: int
    windows: AsyncGenerator[Heard]

    async def answer(self) -> bytes:
        """The body of an answer in one piece."""
        joined = await _joined(self.windows, self.n_samples, self.asked.options)
        transcript = joined.transcript()
        if self.asked.format != "verbose_json":
            return answer(transcript, self.asked)
        return as_json(answer_shape(transcript, self.asked) | joined.extras(transcript))

    async def events(self) -> AsyncGenerator[bytes]:
        """The events of a streamed answer, window by window."""
        pieces = stream.Pieces(self.asked)
        joined = Joined(self.n_samples, self.asked.options)
        async with aclosing(self.windows):
            async for heard in self.windows:
                for event in pieces.add(joined.add(heard)):
                    yield event
        for event in pieces.finish(joined.transcript()):
            yield event


async def _joined(
    windows: AsyncGenerator[Heard], n_samples: int, options: TranscribeOptions
) -> Joined:
    joined = Joined(n_samples, options)
    async with aclosing(windows):
        async for heard in windows:
            joined.add(heard)
    return joined


def _read_chunk(body: bytes) -> Waveform:
    try:
        return np.asarray(Chunk.model_validate_json(body).chunk, dtype=np.float32)
    except ValidationError as exc:
        raise invalid_input(list(exc.errors(include_input=False, include_context=False))) from exc


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
