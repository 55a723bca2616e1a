"""One recording on its way through: how far it is, and whether anybody still wants it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stenograf.contract.errors import Cancelled
from stenograf.contract.jobs import JobStatus, JobView, Stage
from stenograf.telegram.phrases import Phrases, clock


class Leaving(Exception):
    """The bot shuts down; the backend goes on with the job."""


class Ticket:
    """Written by the thread that works, read by the chat; ended by either side."""

    def __init__(self, chat_id: int) -> None:
        self.chat_id = chat_id
        self.cancelled = asyncio.Event()
        self._ended = threading.Event()
        self._leaving = False
        self._begun = False
        self._sent_share: float | None = None
        self._view: JobView | None = None

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._ended.set()
        self.cancelled.set()

    def leave(self) -> None:
        """The bot ends; somebody still wants it."""
        if not self._ended.is_set():
            self._leaving = True
            self._ended.set()

    def check(self) -> None:
        """Raise Cancelled or Leaving if the work should end."""
        if self._ended.is_set():
            raise Leaving if self._leaving else Cancelled("The recording was withdrawn.")

    def begin(self) -> None:
        """Its turn has come. Raises Cancelled, Leaving."""
        self._begun = True
        self.check()

    def on_bytes(self, sent: int, total: int) -> None:
        """So many bytes are with the backend. Raises Cancelled, Leaving."""
        self._sent_share = sent / total if total else 1.0
        self.check()

    def on_view(self, view: JobView) -> None:
        """The job as it is now. Raises Cancelled, Leaving."""
        self._view = view
        self.check()

    def told(self, phrases: Phrases) -> str:
        """How far it is, in words."""
        view = self._view
        if view is None:
            if not self._begun:
                return phrases("progress_waiting")
            if self._sent_share is None:
                return phrases("progress_fetching")
            return phrases("progress_sending", percent=int(self._sent_share * 100))
        progress = view.progress
        if view.status is JobStatus.QUEUED:
            if progress.queue_position:
                return phrases("progress_ahead", count=progress.queue_position)
            return phrases("progress_waiting")
        if progress.stage is Stage.RECOGNIZING and progress.total_s:
            done, total = clock(progress.done_s), clock(progress.total_s)
            return phrases("progress_recognizing", done=done, total=total)
        return phrases("progress_listening")


class Counter:
    """The tickets of every chat that are open now."""

    def __init__(self) -> None:
        self._open: dict[int, Ticket] = {}

    @contextmanager
    def opened(self, update_id: int, ticket: Ticket) -> Iterator[None]:
        """Keep a ticket while its recording is worked on."""
        self._open[update_id] = ticket
        try:
            yield
        finally:
            del self._open[update_id]

    def of_chat(self, chat_id: int) -> list[Ticket]:
        """The open tickets of a chat."""
        return [ticket for ticket in self._open.values() if ticket.chat_id == chat_id]

    def find(self, update_id: int) -> Ticket | None:
        """The open ticket of a message, None if it is done."""
        return self._open.get(update_id)


class Place:
    """One of the places, waited for only as long as the recording is wanted."""

    def __init__(self, places: asyncio.Semaphore, ticket: Ticket) -> None:
        self._places, self._ticket = places, ticket

    async def __aenter__(self) -> None:
        place = asyncio.ensure_future(self._places.acquire())
        cancelled = asyncio.ensure_future(self._ticket.cancelled.wait())
        try:
            await asyncio.wait({place, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            self._ticket.begin()
        except BaseException:
            if not place.cancel() and not place.cancelled():
                self._places.release()
            raise
        finally:
            cancelled.cancel()

    async def __aexit__(self, *failure: object) -> None:
        self._places.release()
