"""`POST /inference` with a form, as whisper.cpp's server answers it."""

import json
from dataclasses import dataclass
from typing import Any, Self

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.dialect import late, route_class, sentence
from stenograf.backend.api.given import Given, options_of, prompt_of
from stenograf.backend.api.intake import received
from stenograf.backend.api.outcome import json_outcome, submitted, text_outcome
from stenograf.backend.service import Service
from stenograf.contract.errors import BadRequest, StenografError
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import DEFAULT_LANGUAGE, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Transcript
from stenograf.transcripts.excerpt import excerpt
from stenograf.transcripts.whispercpp import plain, verbose_json
from stenograf.transcripts.writers import FORMATS, render

_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_MAX_BEAM = 10
_SAMPLES_PER_MS = SAMPLE_RATE // 1000
_LONGEST_MS = 1e10  # four months


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter(route_class=route_class(_error))

    @api.post("/inference")
    async def inference(request: Request) -> Response:
        """A recording in a form, its transcript in the answer."""
        return await _inference(service, request)

    @api.post("/load")
    async def load() -> Response:
        """Refused: a model is chosen where the model service starts."""
        raise BadRequest(
            "The model cannot be changed by a request.",
            hint="Set LOCAL_LLM_MODEL and start the model service again.",
            param="model",
        )

    return api


async def _inference(service: Service, request: Request) -> Response:
    async with received(service, request) as recording:
        asked = _Asked.of(Given(request.query_params, recording.form))
        job = JobRequest(upload_id=recording.upload.id, options=asked.options)
        view = await submitted(service, job)

    async def body(transcript: Transcript) -> bytes:
        return await run_in_threadpool(asked.body, transcript)

    if asked.format in ("json", "verbose_json"):
        return await json_outcome(service, view.id, body, late(_error, request))
    return await text_outcome(
        service, view.id, body, format=asked.format, media_type=asked.media_type
    )


def _error(error: StenografError, request_id: str | None) -> dict[str, Any]:
    """whisper.cpp's shape: the error is a sentence."""
    body = error.body(request_id).model_dump(exclude_none=True, exclude={"message", "hint"})
    return {"error": sentence(error), **body}


@dataclass(frozen=True)
class _Asked:
    """The fields of a request, checked; those that only tune whisper.cpp's search are let be."""

    format: str
    options: TranscribeOptions
    timestamps: bool
    start: int
    end: int | None

    @classmethod
    def of(cls, given: Given) -> Self:
        """Raises BadOptions."""
        offset_ms, length_ms = _moment(given, "offset_t"), _moment(given, "duration")
        return cls(
            format=given.one_of(_FORMATS, "response_format") or "json",
            options=options_of(decode=_decode(given), cut=_cut(given), guard=_guard(given)),
            timestamps=not given.flag("no_timestamps"),
            start=round(offset_ms * _SAMPLES_PER_MS),
            end=round((offset_ms + length_ms) * _SAMPLES_PER_MS) if length_ms else None,
        )

    @property
    def media_type(self) -> str:
        """Of the formats that are not JSON."""
        return FORMATS["txt" if self.format == "text" else self.format].media_type

    def body(self, transcript: Transcript) -> bytes:
        """The answer's body: what is said between `start` and `end`, samples of the file."""
        if self.start or self.end is not None:
            end = transcript.duration + 1 if self.end is None else self.end
            transcript = excerpt(transcript, self.start, end)
        if self.format == "text":
            return plain(transcript).encode()
        if self.format in ("srt", "vtt"):
            return render(transcript, self.format).body
        shape = (
            {"text": plain(transcript)}
            if self.format == "json"
            else verbose_json(transcript, timestamps=self.timestamps)
        )
        return json.dumps(shape, ensure_ascii=False, allow_nan=False).encode()


def _moment(given: Given, name: str) -> float:
    """Milliseconds of the file; what lies outside any file counts as its edge."""
    return min(_LONGEST_MS, max(0.0, given.number(name) or 0.0))


def _decode(given: Given) -> dict[str, Any]:
    beam = given.number("beam_size")
    return {
        "language": "auto" if given.flag("detect_language") else given.language(DEFAULT_LANGUAGE),
        "task": "translate" if given.flag("translate") else None,
        "prompt": prompt_of(given.text("prompt")),
        "temperature": given.number("temperature"),
        # whisper.cpp's own default is -1: greedy
        "beam_size": None if beam is None or beam < 1 else min(int(beam), _MAX_BEAM),
    }


def _guard(given: Given) -> dict[str, Any]:
    return {
        "no_speech_threshold": given.number("no_speech_thold"),
        "logprob_threshold": given.number("logprob_thold"),
    }


def _cut(given: Given) -> dict[str, Any]:
    longest_s = given.number("vad_max_speech_duration_s")
    return {
        "vad": given.flag("vad"),
        "vad_threshold": given.number("vad_threshold"),
        "min_speech_ms": _whole(given.number("vad_min_speech_duration_ms"), 0, 10_000),
        "min_silence_ms": _whole(given.number("vad_min_silence_duration_ms"), 50, 10_000),
        "speech_pad_ms": _whole(given.number("vad_speech_pad_ms"), 0, 2_000),
        "chunk_size_s": _whole(longest_s, 1, 30),
    }


def _whole(value: float | None, lowest: int, highest: int) -> int | None:
    """The nearest value that is possible here."""
    return None if value is None else round(min(highest, max(lowest, value)))
