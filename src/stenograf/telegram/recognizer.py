"""The backend as the bot uses it: blocking calls in threads, given up when a ticket ends."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from stenograf.client import Client, JobFailed
from stenograf.contract.errors import Cancelled, StenografError
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.telegram.ticket import Ticket

Result = TypeVar("Result")


class Recognizer:
    """Sends recordings to the backend and brings texts back; used on the event loop."""

    def __init__(self, client: Client, threads: int) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="recognizer")

    def close(self) -> None:
        """Wait for nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def submit(self, path: Path, language: str, ticket: Ticket) -> str:
        """Hand a file over; the id of its job. Raises what the backend says, Cancelled."""
        return await self._while_wanted(ticket, lambda: self._submit(path, language, ticket))

    async def text(self, job_id: str, ticket: Ticket) -> str:
        """Wait for a job and give its text. Raises what the job failed with, Cancelled."""
        return await self._while_wanted(ticket, lambda: self._text(job_id, ticket))

    async def subtitles(self, job_id: str) -> bytes:
        """The finished transcript as an .srt file. Raises what the backend says."""
        return await self._run(lambda: self._client.transcript(job_id, "srt"))

    def _submit(self, path: Path, language: str, ticket: Ticket) -> str:
        options = TranscribeOptions(decode=DecodeOptions(language=language))
        job = self._client.submit(path, options, on_bytes=ticket.on_bytes, on_full=ticket.check)
        try:
            ticket.on_view(job)
        except Cancelled:
            self._withdraw(job.id)
            raise
        return job.id

    def _text(self, job_id: str, ticket: Ticket) -> str:
        try:
            self._client.wait(job_id, ticket.on_view)
        except JobFailed as failed:
            raise failed.error from None
        except Cancelled:
            self._withdraw(job_id)
            raise
        return self._client.transcript(job_id, "txt").decode().strip()

    def _withdraw(self, job_id: str) -> None:
        with suppress(StenografError):
            self._client.cancel(job_id)

    async def _while_wanted(self, ticket: Ticket, work: Callable[[], Result]) -> Result:
        working = asyncio.ensure_future(self._run(work))
        cancelled = asyncio.ensure_future(ticket.cancelled.wait())
        try:
            await asyncio.wait({working, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():  # the thread notices by itself, a little later
                working.add_done_callback(_look_at)
                raise Cancelled("The recording was withdrawn.")
            return working.result()
        except asyncio.CancelledError:
            ticket.leave()
            working.add_done_callback(_look_at)
            raise
        finally:
            cancelled.cancel()

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _look_at(done: asyncio.Future[Result]) -> None:
    """An exception that nobody waits for is not worth a warning."""
    if not done.cancelled():
        done.exception()
