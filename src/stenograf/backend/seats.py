"""How many may follow something live at the same time."""

from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stenograf.contract.errors import Overloaded

_ASK_AGAIN_S = 10.0


class Seats:
    """At most `most` at once; for one thread, the event loop's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them while the block runs. Raises Overloaded."""
        if self._taken >= self._most:
            raise Overloaded(
                f"{self._taken} streams of events are open already; this service has no more.",
                hint="Ask for the job itself now and then, or for its events later.",
                retry_after_s=_ASK_AGAIN_S,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class EventStream(StreamingResponse):
    """Server-sent events for one who takes a seat as long as they come. Raises Overloaded."""

    media_type = "text/event-stream"

    def __init__(self, seats: Seats, events: AsyncIterable[bytes]) -> None:
        unbuffered = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=unbuffered)
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        with self._seats.taken():
            await super().__call__(scope, receive, send)
