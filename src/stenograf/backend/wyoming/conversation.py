"""One client of the Wyoming server: what it says, what it hears."""

import io
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

import stenograf
from stenograf.backend.service import Service
from stenograf.backend.wyoming.events import Event
from stenograf.contract.errors import BadOptions, BadRequest, NotFound, TooLarge
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.contract.transcript import Transcript
from stenograf.httpanswers import invalid_input
from stenograf.transcripts.languages import code_of

MAX_SOUND_BYTES = 16 * 1024**2  # almost nine minutes at 16 kHz
_US = {"name": "stenograf", "url": "https://pypi.org/project/stenograf/"}


class SoundFormat(BaseModel):
    """`audio-start`: interleaved signed integers, little-endian."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rate: int = Field(ge=4_000, le=192_000, description="Hz")
    width: int = Field(ge=2, le=4, description="bytes of a sample")
    channels: int = Field(ge=1, le=8)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Raises BadOptions."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise invalid_input(error.errors()) from None

    def wav(self, sound: bytes) -> bytes:
        """The sound as a file; what is left of a broken sample is dropped."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setframerate(self.rate)
            out.setsampwidth(self.width)
            out.setnchannels(self.channels)
            out.writeframes(sound[: len(sound) - len(sound) % (self.width * self.channels)])
        return file.getvalue()


@dataclass
class _Sound:
    format: SoundFormat
    content: bytearray


class Conversation:
    """Answers events one by one; a recording lives from `audio-start` to its transcript."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._language = ""
        self._sound: _Sound | None = None

    async def answers(self, event: Event) -> AsyncIterator[Event]:
        """What to send back. Raises StenografError; the client may go on after it."""
        if event.type == "describe":
            yield Event("info", await run_in_threadpool(self._info))
        elif event.type == "ping":
            yield Event("pong", {"text": event.data.get("text")})
        elif event.type == "transcribe":
            self._language = _language(event.data.get("language"))
        elif event.type == "audio-start":
            self._sound = _Sound(SoundFormat.of(event.data), bytearray())
        elif event.type == "audio-chunk":
            self._hear(event)
        elif event.type == "audio-stop":
            transcript = await self._transcribe()
            yield Event("transcript", {"text": transcript.text, "language": transcript.language})

    def _hear(self, event: Event) -> None:
        format = SoundFormat.of(event.data)
        if self._sound is None:
            self._sound = _Sound(format, bytearray())
        sound = self._sound
        if format != sound.format:
            self._sound = None
            raise BadRequest("The sound changes its format in the middle.")
        if len(sound.content) + len(event.payload) > MAX_SOUND_BYTES:
            self._sound = None
            raise TooLarge(f"The sound is longer than {MAX_SOUND_BYTES} bytes.")
        sound.content += event.payload

    async def _transcribe(self) -> Transcript:
        """The sound's transcript; of a spoken command no job is left behind."""
        sound, self._sound = self._sound, None
        if sound is None or not sound.content:
            raise BadRequest("There was no sound before audio-stop.")
        service = self._service
        job_id = await run_in_threadpool(self._submit, sound)
        try:
            return await service.result(job_id)
        finally:
            with suppress(NotFound):
                await run_in_threadpool(service.purge, job_id)

    def _submit(self, sound: _Sound) -> str:
        content = sound.format.wav(bytes(sound.content))
        uploads = self._service.uploads
        upload = uploads.create(len(content), {"filename": "wyoming.wav", "filetype": "audio/wav"})
        decode = DecodeOptions(language=self._language) if self._language else DecodeOptions()
        try:
            uploads.append(upload.id, 0, [content])
            request = JobRequest(upload_id=upload.id, options=TranscribeOptions(decode=decode))
            return self._service.submit(request).id
        except BaseException:
            self._service.drop_unused(upload.id)
            raise

    def _info(self) -> dict[str, Any]:
        models = [
            {
                "name": str(row["id"]),
                "attribution": _US,
                "installed": True,
                "description": str(row["id"]),
                "version": None,
                "languages": list(row.get("languages") or [DecodeOptions().language]),
            }
            for row in self._service.engine.models()
        ]
        program = {
            "name": "stenograf",
            "attribution": _US,
            "installed": True,
            "description": "Self-hosted speech to text",
            "version": stenograf.__version__,
            "models": models,
            "supports_transcript_streaming": False,
        }
        return {"asr": [program], "tts": [], "handle": [], "intent": [], "wake": []}


def _language(given: object) -> str:
    """A code; empty for the service's own. Raises BadOptions."""
    if given is None or given == "":
        return ""
    code = code_of(str(given).partition("-")[0])
    if code is None:
        raise BadOptions(f"{str(given)[:40]!r} is no language.", param="language")
    return code
