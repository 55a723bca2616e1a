"""Long answers that clients and proxies do not give up on.

After `START_S` of silence the 200 goes out and a space follows every `START_S`: white space before
JSON means nothing to a parser, and no read timeout between the two ends expires.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.responses import Response, StreamingResponse

from stenograf.contract.errors import StenografError

START_S = 10.0


async def patient_json(
    work: Awaitable[bytes], render_error: Callable[[StenografError], dict[str, Any]]
) -> Response:
    """Answer with the JSON that `work` gives, however long it takes.

    An error within `START_S` is raised and gets its own status; a later one becomes the body,
    as `render_error` shapes it, under the 200 that is already out.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=START_S)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done():
        return Response(task.result(), media_type="application/json")
    return StreamingResponse(_spaces_then(task, render_error), media_type="application/json")


async def _spaces_then(
    task: asyncio.Future[bytes], render_error: Callable[[StenografError], dict[str, Any]]
) -> AsyncIterator[bytes]:
    try:
        while not task.done():
            yield b" "
            await asyncio.wait({task}, timeout=START_S)
        try:
            yield task.result()
        except StenografError as error:
            yield json.dumps(render_error(error), ensure_ascii=False).encode()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, StenografError):
            await task
