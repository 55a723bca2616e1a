"""A job as a stream of server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from functools import partial

from stenograf.backend.partial import window_event
from stenograf.backend.service import Service
from stenograf.backend.snapshot import Snapshot
from stenograf.contract.errors import NotFound
from stenograf.contract.jobs import JobView

PING_S = 10.0


async def events(service: Service, job_id: str, after_seq: int) -> AsyncIterator[bytes]:
    """Every change of a job from now on, and its windows after `after_seq`; ends with the job.

    After a `reset` all windows that were told before are void.
    """
    snapshots = service.snapshots(job_id, after_seq)
    coming = asyncio.ensure_future(anext(snapshots))
    shown: JobView | None = None
    try:
        yield b"retry: 2000\n\n"
        while True:
            await asyncio.wait({coming}, timeout=PING_S)
            if not coming.done():
                yield b": ping\n\n"
                continue
            try:
                snapshot = coming.result()
            except (StopAsyncIteration, NotFound):  # ended, or removed meanwhile
                return
            # All who have followed the job so far are told the same: it is put into words once.
            messages = await service.watching.once(
                ("changes", id(snapshot), id(shown)), partial(_changes, snapshot, shown)
            )
            if messages:
                yield messages
            shown = snapshot.view
            coming = asyncio.ensure_future(anext(snapshots))
    finally:
        await _end(coming, snapshots)


async def _end(coming: asyncio.Future[Snapshot], snapshots: AsyncGenerator[Snapshot]) -> None:
    coming.cancel()
    with suppress(asyncio.CancelledError, StopAsyncIteration, NotFound):
        await coming
    await snapshots.aclose()


def _changes(snapshot: Snapshot, before: JobView | None) -> bytes:
    view = snapshot.view
    messages = []
    if before is None or (before.status, before.error) != (view.status, view.error):
        messages.append(_event("status", view.model_dump_json()))
    if snapshot.reset_seq is not None:
        messages.append(_event("reset", "{}", snapshot.reset_seq))
    for window in snapshot.windows:
        event = window_event(snapshot, window)
        messages.append(_event("window", event.model_dump_json(), window.seq))
    if before is None or before.progress != view.progress:
        data = {"status": view.status.value, **view.progress.model_dump(mode="json")}
        messages.append(_event("progress", json.dumps(data)))
    if view.status.final:
        messages.append(_event("done", view.model_dump_json()))
    return b"".join(messages)


def _event(name: str, data: str, number: int | None = None) -> bytes:
    identity = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{identity}data: {data}\n\n".encode()
