"""Long answers that clients and proxies do not give up on.

An answer that takes longer than `start_s` begins before it is known: with white space, which means
nothing before JSON, between the blocks of a subtitle file and at the beginning of a text; with a
comment in a stream of events. It is repeated every `start_s`, so no read timeout expires. The price
is that the status is already 200: what fails later can only be told in the body, and where the body
has no place for it the connection is broken off, which every client takes for a failure.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from starlette.responses import Response, StreamingResponse

from stenograf.contract.errors import StenografError

_log = logging.getLogger(__name__)

START_S = 1.0
_UNBUFFERED = {"X-Accel-Buffering": "no"}  # nginx would keep the white space to itself
HOLD_S = 10.0
"""Longest time that `hold` keeps an answer from beginning."""

Hold = Callable[[], Awaitable[object]]
"""Returns once a failure is unlikely enough to say 200: the recording could be decoded."""

ErrorShape = Callable[[StenografError], dict[str, Any]]


class BrokenOff(Exception):
    """A text that had begun cannot be finished; the server ends the connection without its end."""


async def patient_json(
    work: Awaitable[bytes],
    render_error: ErrorShape,
    *,
    start_s: float = START_S,
    hold: Hold | None = None,
) -> Response:
    """Answer with the JSON that `work` gives, however long it takes.

    An error before the answer began is raised and gets its own status; a later one becomes the
    body, as `render_error` shapes it.
    """

    def failed(error: StenografError) -> bytes:
        return json.dumps(render_error(error), ensure_ascii=False).encode()

    task = asyncio.ensure_future(work)
    await _beginning(task, start_s, hold)
    if task.done():
        return Response(task.result(), media_type="application/json")
    waiting = _filled(task, start_s, b" ", failed)
    return StreamingResponse(waiting, media_type="application/json", headers=_UNBUFFERED)


async def patient_text(
    work: Awaitable[bytes],
    media_type: str,
    *,
    opening: bytes = b"",
    start_s: float = START_S,
    hold: Hold | None = None,
) -> Response:
    """Answer with the text that `work` gives, behind empty lines if it takes long.

    `opening` is what the text begins with in any case, as WebVTT does, and is sent before the empty
    lines. An error before the answer began is raised; a later one breaks the connection off.
    """

    def failed(error: StenografError) -> bytes:
        raise BrokenOff(error.message) from error

    task = asyncio.ensure_future(work)
    await _beginning(task, start_s, hold)
    if task.done():
        return Response(task.result(), media_type=media_type)
    waiting = _filled(task, start_s, b"\n", failed, opening)
    return StreamingResponse(waiting, media_type=media_type, headers=_UNBUFFERED)


async def patient_events(
    events: AsyncGenerator[bytes],
    failed: Callable[[StenografError], bytes],
    *,
    ping: bytes,
    headers: Mapping[str, str],
    start_s: float = START_S,
    hold: Hold | None = None,
) -> Response:
    """Answer with server-sent events as they come, `ping` whenever none came for `start_s`.

    An error before the first event, or before the answer began, is raised; a later one is the
    last event, as `failed` shapes it.
    """
    first = asyncio.ensure_future(anext(events))
    try:
        await _beginning(first, start_s, hold)
        if first.done() and first.exception() is not None:
            first.result()
    except BaseException:
        await events.aclose()
        raise
    stream = _pinged(first, events, failed, ping, start_s)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _beginning(task: asyncio.Future[bytes], start_s: float, hold: Hold | None) -> None:
    """Return when `task` is done or the answer has to begin without it."""
    try:
        await asyncio.wait({task}, timeout=start_s)
        if task.done() or hold is None:
            return
        holding = asyncio.ensure_future(hold())
        try:
            both: set[asyncio.Future[Any]] = {task, holding}
            await asyncio.wait(both, timeout=HOLD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError, StenografError):
                await holding
    except asyncio.CancelledError:
        task.cancel()
        raise


async def _filled(
    task: asyncio.Future[bytes],
    start_s: float,
    filler: bytes,
    failed: Callable[[StenografError], bytes],
    opening: bytes = b"",
) -> AsyncIterator[bytes]:
    try:
        yield opening + filler
        while not task.done():
            await asyncio.wait({task}, timeout=start_s)
            if not task.done():
                yield filler
        try:
            yield task.result().removeprefix(opening)
        except Exception as error:
            yield failed(_as_ours(error))
    finally:
        with anyio.CancelScope(shield=True):
            await _end(task)


async def _pinged(
    task: asyncio.Future[bytes],
    events: AsyncGenerator[bytes],
    failed: Callable[[StenografError], bytes],
    ping: bytes,
    start_s: float,
) -> AsyncIterator[bytes]:
    try:
        while True:
            while not task.done():
                yield ping
                await asyncio.wait({task}, timeout=start_s)
            try:
                yield task.result()
            except StopAsyncIteration:
                return
            except Exception as error:
                yield failed(_as_ours(error))
                return
            task = asyncio.ensure_future(anext(events))
            await asyncio.wait({task}, timeout=start_s)
    finally:
        with anyio.CancelScope(shield=True):  # whoever left must not keep the source half closed
            await _end(task)
            await events.aclose()


async def _end(task: asyncio.Future[bytes]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
        await task


def _as_ours(error: Exception) -> StenografError:
    if isinstance(error, StenografError):
        return error
    _log.error("an answer that had begun could not be finished", exc_info=error)
    return StenografError("Something went wrong inside; the log of the service has the details.")
