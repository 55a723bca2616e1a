"""Wyoming on the wire: a line of JSON, then the bytes of more JSON and of a payload."""

import json
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stenograf.contract.errors import BadRequest

VERSION = "1.10.2"
"""Of the reference implementation whose events these are."""
MAX_LINE_BYTES = 64 * 1024
_MAX_DATA_BYTES = 256 * 1024
_MAX_PAYLOAD_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class Event:
    """A message in either direction."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read(reader: StreamReader) -> Event | None:
    """The next event; None when the client has ended. Raises BadRequest for what is none.

    `reader` must have been made with `limit=MAX_LINE_BYTES`.
    """
    try:
        line = await reader.readuntil(b"\n")
        head = _object(line)
        data = head.get("data") or {}
        more = await reader.readexactly(_length(head, "data_length", _MAX_DATA_BYTES))
        payload = await reader.readexactly(_length(head, "payload_length", _MAX_PAYLOAD_BYTES))
    except IncompleteReadError as error:
        if not error.partial:
            return None
        raise BadRequest("The last event is not complete.") from None
    except LimitOverrunError:
        raise BadRequest(f"An event's first line has more than {MAX_LINE_BYTES} bytes.") from None
    if not isinstance(data, dict) or not isinstance(head.get("type"), str):
        raise BadRequest("An event needs a type, and data that are an object.")
    return Event(head["type"], {**data, **(_object(more) if more else {})}, payload)


async def write(writer: StreamWriter, event: Event) -> None:
    """Send an event."""
    data = json.dumps(event.data, ensure_ascii=False).encode()
    head = {"type": event.type, "version": VERSION, "data_length": len(data)}
    if event.payload:
        head["payload_length"] = len(event.payload)
    writer.writelines((json.dumps(head).encode(), b"\n", data, event.payload))
    await writer.drain()


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("An event is not JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("An event is not a JSON object.")
    return value


def _length(head: Mapping[str, Any], name: str, most: int) -> int:
    length = head.get(name) or 0
    if not isinstance(length, int) or not 0 <= length <= most:
        raise BadRequest(f"{name} must be a whole number up to {most}.", param=name)
    return length
