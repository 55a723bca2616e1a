"""Messages of the Realtime protocol, read and written."""

import base64
import binascii
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

from stenograf.contract.errors import BadRequest, StenografError, error_json
from stenograf.httpanswers import openai_shape

_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_MS_PER_SAMPLE = 1000 / 16_000


def read(message: str | bytes) -> dict[str, Any]:
    """A client's event. Raises BadRequest for what is not a JSON object."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        raise BadRequest("The message is not JSON.") from None
    if not isinstance(event, dict):
        raise BadRequest("The message is not a JSON object.")
    return event


def sound_of(event: Mapping[str, Any]) -> bytes:
    """The bytes of an append event. Raises BadRequest."""
    audio = event.get("audio")
    if not isinstance(audio, str):
        raise BadRequest("audio: a base64 string is required", param="audio")
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("audio: not valid base64", param="audio") from None


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """A server's event with an id of its own."""
    return {"type": kind, "event_id": f"event_{uuid.uuid4().hex[:24]}", **fields}


def error(problem: StenografError, caused_by: object = None) -> dict[str, Any]:
    """An `error` event; `caused_by` is the `event_id` of the client's event, if it had one."""
    named = caused_by[:200] if isinstance(caused_by, str) else None
    return event("error", error=_error_fields(problem) | {"event_id": named})


def speech_started(item_id: str, at: int) -> dict[str, Any]:
    """Speech began at sample `at`."""
    start_ms = round(at * _MS_PER_SAMPLE)
    return event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)


def speech_stopped(item_id: str, at: int) -> dict[str, Any]:
    """Speech ended at sample `at`."""
    end_ms = round(at * _MS_PER_SAMPLE)
    return event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)


def committed(item_id: str, previous_id: str | None, *, old: bool) -> list[dict[str, Any]]:
    """The buffer became an item; `old` is the dialect before general availability."""
    follows = {"previous_item_id": previous_id}
    item = {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    kinds = ["created"] if old else ["added", "done"]
    return [
        event("input_audio_buffer.committed", item_id=item_id, **follows),
        *(event(f"conversation.item.{kind}", item=item, **follows) for kind in kinds),
    ]


def delta(item_id: str, text: str) -> dict[str, Any]:
    """More text of an item."""
    return event(f"{_TRANSCRIPTION}.delta", item_id=item_id, content_index=0, delta=text)


def completed(item_id: str, text: str, n_samples: int) -> dict[str, Any]:
    """The whole text of an item."""
    return event(
        f"{_TRANSCRIPTION}.completed",
        item_id=item_id,
        content_index=0,
        transcript=text,
        usage={"type": "duration", "seconds": math.ceil(n_samples * _MS_PER_SAMPLE / 1000)},
    )


def failed(item_id: str, problem: StenografError) -> dict[str, Any]:
    """An item will have no text."""
    fields = _error_fields(problem)
    return event(f"{_TRANSCRIPTION}.failed", item_id=item_id, content_index=0, error=fields)


def _error_fields(problem: StenografError) -> dict[str, Any]:
    shown = openai_shape(error_json(problem)["error"], problem.status)
    hint = shown.pop("hint", None)
    if hint:
        shown["message"] = f"{shown['message']} {hint}"
    return shown
