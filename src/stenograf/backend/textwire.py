"""Bytes of a chat server's answers, bounded, and what it means when none come."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx

from stenograf.backend.textanswer import Reading
from stenograf.contract.errors import (
    StenografError,
    TextServiceFailed,
    TextServiceTimeout,
    TextServiceUnavailable,
)

_MAX_BODY_BYTES = 8 * 1024**2


async def read_into(reading: Reading, response: httpx.Response) -> None:
    """Feed an answer to `reading`, streamed or whole. Raises TextServiceFailed if it is endless."""
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    if streamed:
        async with aclosing(_lines(response)) as lines:
            async for line in lines:
                if reading.line(line):
                    break
    else:
        reading.whole(await bounded_body(response))


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    # Not `aiter_lines`: it also splits at U+2028 and its kin, which JSON strings may hold.
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _MAX_BODY_BYTES:
            raise TextServiceFailed("The language model's answer has an endless line.")
        for line in lines:
            yield line
    yield rest


async def bounded_body(response: httpx.Response) -> bytes:
    """The body, at most 8 MiB. Raises TextServiceFailed for more."""
    content = b""
    async for block in response.aiter_bytes():
        content += block
        if len(content) > _MAX_BODY_BYTES:
            raise TextServiceFailed("The language model's answer is endless.")
    return content


def transport_failure(error: httpx.HTTPError) -> StenografError:
    """What it means that no answer came."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TextServiceUnavailable(
            "The language model's server cannot be reached.",
            hint="Start it, or correct TEXT_LLM_URL.",
        )
    if isinstance(error, httpx.TimeoutException):
        return TextServiceTimeout("The language model's server fell silent.")
    return TextServiceUnavailable("The language model's server broke the connection off.")
