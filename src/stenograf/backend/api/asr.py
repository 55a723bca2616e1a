"""`POST /asr`: whisper-asr-webservice and WhisperX in one, for Bazarr, Speakr and their kin."""

import json
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.dialect import route_class, with_detail
from stenograf.backend.api.disposition import disposition
from stenograf.backend.api.given import Given, options_of, prompt_of
from stenograf.backend.api.outcome import submitted, text_outcome
from stenograf.backend.api.raw import received_sound
from stenograf.backend.service import Service
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript
from stenograf.transcripts.whisperx import whisperx
from stenograf.transcripts.writers import FORMATS, render

PARTS = ("audio_file", "file")
_OUTPUTS = ("txt", "vtt", "srt", "tsv", "json", "text")
_OF_WHISPERX_ALONE = (
    *("output_format", "model", "hotwords", "enable_diarization", "num_speakers"),
    "return_speaker_embeddings",
)
_WHISPER_SIZE = re.compile(
    r"((openai|systran)/)?(faster-)?(distil-)?(whisper-)?(distil-)?"
    r"(tiny|base|small|medium|large|turbo)(-v[123])?(-turbo)?(\.en)?",
    re.IGNORECASE,
)
_MAX_TITLE_CHARS = 300


def router(service: Service) -> APIRouter:
    """The route over `service`."""
    api = APIRouter(route_class=route_class(with_detail))

    @api.post("/asr")
    async def asr(request: Request) -> Response:
        """A recording in a form, its transcript in the answer."""
        return await _asr(service, request)

    return api


async def _asr(service: Service, request: Request) -> Response:
    async with received_sound(service, request, PARTS) as recording:
        asked = _Asked.of(Given(request.query_params, recording.form))
        job = JobRequest(upload_id=recording.upload.id, options=asked.options, title=asked.title)
        view = await submitted(service, await run_in_threadpool(_known_model, service, job))

    async def body(transcript: Transcript) -> bytes:
        return await run_in_threadpool(asked.body, transcript)

    # JSON too: clients take an error under 200 for an empty transcript, a broken answer they repeat
    media_type = FORMATS[asked.output].media_type
    answer = await text_outcome(service, view.id, body, format=asked.output, media_type=media_type)
    answer.headers["Asr-Engine"] = "stenograf"
    named = disposition("attachment", view.filename or "transcript", asked.output)
    answer.headers["Content-Disposition"] = named
    return answer


def _known_model(service: Service, job: JobRequest) -> JobRequest:
    """The job, for the model that is served where it names a Whisper size that is not."""
    name = job.options.model
    if not _WHISPER_SIZE.fullmatch(name) or name in {row["id"] for row in service.engine.models()}:
        return job
    options = job.options.model_copy(update={"model": ""})
    return job.model_copy(update={"options": options})


@dataclass(frozen=True)
class _Asked:
    """The parameters of a request, checked."""

    output: str
    options: TranscribeOptions
    title: str
    words: bool
    speakers: bool

    @classmethod
    def of(cls, given: Given) -> Self:
        """Raises BadOptions."""
        for name in ("num_speakers", "min_speakers", "max_speakers"):
            given.number(name)
        given.flag("return_speaker_embeddings")
        decode = {
            "language": given.language("auto"),
            "task": given.text("task").lower() or None,
            "prompt": prompt_of(given.text("initial_prompt", "prompt"), given.text("hotwords")),
        }
        output = given.one_of(_OUTPUTS, "output", "output_format")
        if not output:
            output = "json" if given.has(_OF_WHISPERX_ALONE) else "txt"
        diarize, enabled = given.flag("diarize"), given.flag("enable_diarization")
        return cls(
            output="txt" if output == "text" else output,
            options=options_of(
                given.text("model"), decode=decode, cut={"vad": given.flag("vad_filter")}
            ),
            title=PurePath(given.text("video_file").replace("\\", "/")).name[:_MAX_TITLE_CHARS],
            words=given.flag("word_timestamps") is not False,
            speakers=bool(diarize or enabled),
        )

    def body(self, transcript: Transcript) -> bytes:
        """The answer's body."""
        if self.output != "json":
            return render(transcript, self.output).body
        shape = whisperx(transcript, words=self.words, speakers_wanted=self.speakers)
        return json.dumps(shape, ensure_ascii=False, allow_nan=False).encode()
