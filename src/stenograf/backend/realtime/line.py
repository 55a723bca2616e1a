"""The client's end, as a conversation sees it."""

from collections.abc import Mapping
from typing import Any, Protocol


class Ended(Exception):
    """The conversation is over; `code` is what the websocket is closed with, None if it is."""

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Line(Protocol):
    """A connection to a client; both methods raise Ended once it is gone."""

    async def receive(self) -> str | bytes:
        """The next message."""

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one event."""
