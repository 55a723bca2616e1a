"""Multipart forms read as they arrive: fields into memory, bounded, the file straight to a sink."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from stenograf.contract.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 64 * 1024
_MAX_LONG_FIELDS = 4  # of one name
_MAX_PARTS = 200
_MAX_HEADER_BYTES = 16 * 1024


@dataclass
class Form:
    """What came besides the file; a name may come more than once."""

    values: dict[str, list[str]] = field(default_factory=dict)

    def last(self, name: str, default: str = "") -> str:
        """The last value of a name, stripped."""
        return self.values.get(name, [default])[-1].strip()

    def all(self, name: str) -> list[str]:
        """Every value of a name, spelled with or without `[]`."""
        return [*self.values.get(name, []), *self.values.get(f"{name}[]", [])]


@dataclass(frozen=True)
class FilePart:
    """The beginning of a file in a form: names as the client gave them."""

    name: str
    filename: str
    media_type: str


_Event = tuple[str, bytes]


class FormReader:
    """Pulls one multipart body apart: `async for part in reader` gives each file part once.

    While a part is current, `content()` gives its bytes; what is not read is skipped. Fields
    gather in `form`; each may have 64 KiB, and those that `max_field_bytes` names what it says.
    Raises BadRequest for a body that is not a form.
    """

    def __init__(
        self, request: Request, *, max_field_bytes: Mapping[str, int] | None = None
    ) -> None:
        self.form = Form()
        self._max_field_bytes = max_field_bytes or {}
        self._stream = request.stream()
        self._events: list[_Event] = []
        self._parser = self._make_parser(request.headers.get("content-type", ""))

    def _make_parser(self, content_type: str) -> MultipartParser:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
            raise BadRequest(
                "The body is not a form.", hint="Send multipart/form-data with the part `file`."
            )

        def data(name: str) -> Callable[[bytes, int, int], None]:
            return lambda buffer, start, end: self._events.append((name, buffer[start:end]))

        def mark(name: str) -> Callable[[], None]:
            return lambda: self._events.append((name, b""))

        callbacks: MultipartCallbacks = {
            "on_part_begin": mark("begin"),
            "on_part_data": data("data"),
            "on_part_end": mark("end"),
            "on_header_field": data("name"),
            "on_header_value": data("value"),
            "on_header_end": mark("header"),
            "on_headers_finished": mark("headers"),
            "on_end": mark("finish"),
        }
        return MultipartParser(boundary, callbacks)

    async def _next(self) -> _Event | None:
        while not self._events:
            try:
                block = await anext(self._stream)
            except StopAsyncIteration:
                return None
            try:
                self._parser.write(block)
            except FormParserError as error:
                raise BadRequest(f"The form cannot be read: {error}") from None
            self._events.reverse()
        return self._events.pop()

    async def files(self) -> AsyncIterator[FilePart]:
        """Each file part, in order; fields are gathered on the way."""
        finished = False
        parts = 0
        while (event := await self._next()) is not None:
            if event[0] == "finish":
                finished = True
            if event[0] != "begin":
                continue
            parts += 1
            if parts > _MAX_PARTS:
                raise BadRequest(f"The form has more than {_MAX_PARTS} parts.")
            name, part = await self._headers()
            if part is None:
                await self._field(name)
            else:
                yield part
        if not finished:
            raise BadRequest("The form ends in the middle.", hint="Send it again.")

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the current file part as they arrive."""
        while (event := await self._next()) is not None:
            if event[0] == "end":
                return
            if event[1]:
                yield event[1]
        raise BadRequest("The form ends in the middle of the file.", hint="Send it again.")

    async def _headers(self) -> tuple[str, FilePart | None]:
        headers: dict[bytes, bytes] = {}
        name = value = b""
        size = 0
        while (event := await self._next()) is not None and event[0] != "headers":
            size += len(event[1])
            if size > _MAX_HEADER_BYTES:
                raise BadRequest("A part of the form has too long headers.")
            if event[0] == "name":
                name += event[1]
            elif event[0] == "value":
                value += event[1]
            else:
                headers[name.lower()] = value
                name = value = b""
        _, options = parse_options_header(headers.get(b"content-disposition"))
        field_name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            return field_name, None
        filename = options[b"filename"].decode("utf-8", "replace")
        media_type = headers.get(b"content-type", b"").decode("latin-1")
        return field_name, FilePart(field_name, filename, media_type)

    async def _field(self, name: str) -> None:
        value = bytearray()
        limit = self._max_field_bytes.get(name, _MAX_FIELD_BYTES)
        if limit > _MAX_FIELD_BYTES and len(self.form.values.get(name, ())) >= _MAX_LONG_FIELDS:
            raise BadRequest(f"The field {name[:60]!r} comes too often.", param=name[:60])
        while (event := await self._next()) is not None and event[0] != "end":
            value += event[1]
            if len(value) > limit:
                raise BadRequest(f"The field {name[:60]!r} is too long.", param=name[:60])
        self.form.values.setdefault(name, []).append(value.decode("utf-8", "replace"))
