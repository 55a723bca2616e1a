"""One recording out of one request body, for the dialects that send it in a form."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from stenograf.backend.service import Service
from stenograf.backend.uploads import Upload
from stenograf.contract.errors import BadRequest
from stenograf.forms import FilePart, Form, FormReader


@dataclass(frozen=True)
class Received:
    """A complete upload and the fields that came with it."""

    upload: Upload
    form: Form


@asynccontextmanager
async def received(
    service: Service,
    request: Request,
    names: Sequence[str] = ("file",),
    *,
    header: bytes = b"",
    max_field_bytes: Mapping[str, int] | None = None,
) -> AsyncIterator[Received]:
    """The one file of a multipart body, streamed to disk behind `header`, with the form's fields.

    The file is the part called one of `names`. When the block ends with an error and no job took
    the upload, it is removed. `max_field_bytes`: see `FormReader`. Raises BadRequest for a body
    that is not such a form, and what the upload store raises.
    """
    reader = FormReader(request, max_field_bytes=max_field_bytes)
    upload: Upload | None = None
    try:
        async for part in reader.files():
            if part.name not in names:
                raise BadRequest(
                    f"The form has a file called {part.name[:60]!r}.",
                    hint=f"Send the recording as `{names[0]}`.",
                    param=part.name[:60],
                )
            if upload is not None:
                raise BadRequest("The form has more than one file.", param=names[0])
            upload = await _receive(service, part, reader, header)
        if upload is None:
            raise BadRequest(f"The part `{names[0]}` is missing.", param=names[0])
        yield Received(upload, reader.form)
    except BaseException:
        if upload is not None:
            await run_in_threadpool(service.drop_unused, upload.id)
        raise


async def _receive(service: Service, part: FilePart, reader: FormReader, header: bytes) -> Upload:
    metadata = {"filename": part.filename, "filetype": part.media_type}
    upload = await run_in_threadpool(service.uploads.create, None, metadata)
    try:
        received = await service.uploads.receive(upload.id, 0, _behind(header, reader.content()))
        return await service.uploads.receive(
            upload.id, received.offset, _behind(b""), length=received.offset
        )
    except BaseException:
        await run_in_threadpool(service.drop_unused, upload.id)
        raise


async def _behind(
    header: bytes, content: AsyncIterator[bytes] | None = None
) -> AsyncIterator[bytes]:
    if header:
        yield header
    if content is not None:
        async for block in content:
            yield block
