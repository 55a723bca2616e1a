"""Wakes those who wait for a recognition to change, across threads and event loops."""

import asyncio
import itertools
import random
import threading
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress

_POLL_S = 1.0  # another process may change a job without a notice here
_NUMBERS = itertools.count()
_CROWD = 50
_REST_S = 0.0005  # what one of a crowd costs at each look, and the others leave free as much
_TOPIC_S = 0.02  # a look at the database, and nine times as long for everything else


class Waiting:
    """Those of one event loop who wait for one topic; only that loop touches the rest of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.events: set[asyncio.Event] = set()
        self.changes = 0
        self.number = next(_NUMBERS)
        self._phase = random.random()

    def notify(self) -> None:
        """Wake everybody."""
        self.changes += 1
        for event in self.events:
            event.set()

    def next_s(self, period_s: float) -> float:
        """Seconds to one of the moments at which all of them look; topics differ in theirs.

        A period, more or less: a timer may be early, and the moment that it was for is no other.
        """
        left_s = period_s - (self.loop.time() + self._phase * period_s) % period_s
        return left_s if left_s > period_s / 4 else left_s + period_s


class Subscription:
    """One who waits for a topic."""

    def __init__(self, hub: "Hub", waiting: Waiting) -> None:
        self._hub = hub
        self._waiting = waiting
        self._event = asyncio.Event()
        waiting.events.add(self._event)

    @property
    def changes(self) -> int:
        """Notices of the topic since somebody waits for it."""
        return self._waiting.changes

    @property
    def moment(self) -> Hashable:
        """What one sees who looks at this moment, all do who look at the same one."""
        return self._waiting.number, self._waiting.changes

    async def changed(self) -> None:
        """Until there was a notice since the last look, or it is time to look without one.

        In a crowd all look at the same moments, and the larger it is the more rarely: what one of
        them reads serves the others.
        """
        rest_s = self._hub.rest_s
        if rest_s:
            await asyncio.sleep(self._waiting.next_s(rest_s))
        await wait(self._event, self._waiting.next_s(self._hub.poll_s))

    def end(self) -> None:
        """Wait no more."""
        self._waiting.events.discard(self._event)


class Hub:
    """Publish by id, from any thread; subscribe on an event loop.

    A notice carries no data: readers look at the database, so a lost notice costs a poll interval
    and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._topics: dict[str, dict[asyncio.AbstractEventLoop, Waiting]] = {}
        self._subscribers = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the service shuts down and long answers should end."""
        return self._closed

    @property
    def subscribers(self) -> int:
        """How many wait now."""
        return self._subscribers

    @property
    def rest_s(self) -> float:
        """How long each of a crowd lets pass between two looks; 0 for a few."""
        return self._subscribers * _REST_S if self._subscribers > _CROWD else 0.0

    @property
    def poll_s(self) -> float:
        """How often to look without a notice; with many subscribers or topics more rarely."""
        return max(_POLL_S, 4 * self.rest_s, len(self._topics) * _TOPIC_S)

    def publish(self, topic: str) -> None:
        """Wake everybody who waits for `topic`."""
        with self._lock:
            for waiting in self._topics.get(topic, {}).values():
                _wake(waiting)

    def close(self) -> None:
        """Wake everybody, for good."""
        self._closed = True
        self.publish_all()

    def publish_all(self) -> None:
        """Wake everybody."""
        with self._lock:
            for topic in self._topics.values():
                for waiting in topic.values():
                    _wake(waiting)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Subscription]:
        """Notices of a topic for as long as the block runs."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._subscribers += 1
            waiting = self._topics.setdefault(topic, {}).setdefault(loop, Waiting(loop))
            subscription = Subscription(self, waiting)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscribers -= 1
                subscription.end()
                self._drop_empty(topic, waiting)

    def _drop_empty(self, topic: str, waiting: Waiting) -> None:
        if not waiting.events:
            del self._topics[topic][waiting.loop]
            if not self._topics[topic]:
                del self._topics[topic]


def _wake(waiting: Waiting) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there
        waiting.loop.call_soon_threadsafe(waiting.notify)


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
