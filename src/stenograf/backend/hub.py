"""Wakes those who wait for a recognition to change, across threads and event loops."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Hub:
    """Publish by id, from any thread; subscribe on an event loop.

    A notice carries no data: readers look at the database, so a lost notice costs a poll interval
    and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]]
        self._waiting = defaultdict(set)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the service shuts down and long answers should end."""
        return self._closed

    def publish(self, topic: str) -> None:
        """Wake everybody who waits for `topic`."""
        with self._lock:
            for loop, event in self._waiting.get(topic, ()):
                _wake(loop, event)

    def close(self) -> None:
        """Wake everybody, for good."""
        self._closed = True
        self.publish_all()

    def publish_all(self) -> None:
        """Wake everybody."""
        with self._lock:
            for waiters in self._waiting.values():
                for loop, event in waiters:
                    _wake(loop, event)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set at each notice; the reader clears it before it looks."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting[topic].add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting[topic].discard(entry)
                if not self._waiting[topic]:
                    del self._waiting[topic]


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there
        loop.call_soon_threadsafe(event.set)


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until `event` is set, at most `timeout_s`; clears it."""
    try:
        # Python 3.11's wait_for loses a cancel that comes at the moment the event is set.
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
    finally:
        event.clear()
