"""`encode=false`: the recording in a form is bare PCM, s16le, 16 kHz, mono."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from stenograf.backend.api.given import Given
from stenograf.backend.api.intake import Received, received
from stenograf.backend.service import Service
from stenograf.backend.uploads import Upload
from stenograf.contract.pcm import stream_header
from stenograf.forms import Form

_BLOCK_BYTES = 1024**2


@asynccontextmanager
async def received_sound(
    service: Service, request: Request, names: Sequence[str]
) -> AsyncIterator[Received]:
    """`received`, with the header of a WAV file before the bytes of `encode=false`.

    Said in the query, the header goes out first; a form may say it after the file, which is then
    written a second time.
    """
    is_raw = Given(request.query_params, Form()).flag("encode") is False
    header = stream_header() if is_raw else b""
    async with received(service, request, names, header=header) as recording:
        said_late = Given(request.query_params, recording.form).flag("encode") is False
        if is_raw or not said_late:
            yield recording
            return
        upload = await run_in_threadpool(_behind_header, service, recording.upload)
        await run_in_threadpool(service.drop_unused, recording.upload.id)
        try:
            yield Received(upload, recording.form)
        except BaseException:
            await run_in_threadpool(service.drop_unused, upload.id)
            raise


def _behind_header(service: Service, raw: Upload) -> Upload:
    header = stream_header()
    upload = service.uploads.create(len(header) + raw.offset, raw.metadata)
    try:
        with service.uploads.path(raw.id).open("rb") as content:
            blocks = iter(lambda: content.read(_BLOCK_BYTES), b"")
            return service.uploads.append(upload.id, 0, chain([header], blocks))
    except BaseException:
        service.drop_unused(upload.id)
        raise
