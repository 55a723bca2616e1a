"""A form with a sound, as the model service takes it: the sound into a temporary file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import anyio.to_thread
from fastapi import Request

from stenograf.contract.errors import BadRequest, ModelNotFound
from stenograf.contract.options import DecodeOptions
from stenograf.forms import FormReader
from stenograf.llm.engines.base import Capabilities, EngineOptions
from stenograf.openai_audio.fields import Fields
from stenograf.openai_audio.names import DEFAULT_MODEL_NAMES
from stenograf.openai_audio.request import LONG_FIELDS, AudioRequest

_IN_MEMORY_BYTES = 2 * 1024**2  # a window of 30 s has 1 MB


@asynccontextmanager
async def sound_form(request: Request) -> AsyncIterator[tuple[BinaryIO, Fields]]:
    """The part `file`, at its beginning, and the other fields. Raises BadRequest."""
    reader = FormReader(request, max_field_bytes=LONG_FIELDS)
    sounds = 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        async for part in reader.files():
            sounds += part.name == "file"
            if part.name != "file" or sounds > 1:
                raise BadRequest(
                    "The form has another file than one called `file`.", param=part.name[:60]
                )
            n_bytes = 0
            async for block in reader.content():
                n_bytes += len(block)
                if n_bytes <= _IN_MEMORY_BYTES:
                    file.write(block)
                else:
                    await anyio.to_thread.run_sync(file.write, block)
        if not sounds:
            raise BadRequest("The form has no part named file with a recording.", param="file")
        file.seek(0)
        yield cast(BinaryIO, file), Fields(reader.form.values)


def engine_options(asked: AudioRequest) -> EngineOptions:
    """What the engine is asked for: word times cost time, so only where they are shown."""
    words = "word" in asked.granularities or asked.format in ("srt", "vtt")
    decode: DecodeOptions = asked.options.decode.model_copy(update={"word_timestamps": words})
    return EngineOptions(decode=decode, guard=asked.options.guard)


def check_model(name: str, capabilities: Capabilities) -> None:
    """Raise ModelNotFound unless `name` is empty, an alias, or the model that is served."""
    served = (capabilities.model, capabilities.model.rsplit("/", 1)[-1])
    if name and name not in DEFAULT_MODEL_NAMES and name not in served:
        raise ModelNotFound(
            f"The model {name[:200]!r} is not served here.",
            hint=f"This service has {capabilities.model}.",
            param="model",
        )
