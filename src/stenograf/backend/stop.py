"""One signal that ends a running recognition, with its reason."""

import threading
from enum import StrEnum


class Reason(StrEnum):
    """Why the work ends before its end."""

    CANCELLED = "cancelled"  # nobody wants the result any more
    DRAINED = "drained"  # the service shuts down; the work goes back to the queue
    LOST = "lost"  # the lease went to another worker
    OUTDATED = "outdated"  # it rested on a guess that was wrong


class Stopped(Exception):
    """Raised inside the pipeline once its signal is set; never shown to a user."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Stop:
    """Set once, read by everybody; the first reason wins, but a cancel wins over all of them.

    One `within` another is for a part of that work: it is also set when that one is.
    """

    def __init__(self, within: "Stop | None" = None) -> None:
        self._within = within
        self._event = threading.Event()
        self._reason = Reason.LOST

    def __call__(self) -> bool:
        """Whether the work should end."""
        return self.reason is not None

    @property
    def reason(self) -> Reason | None:
        """Why the work should end; None while it should not."""
        if self._event.is_set():
            return self._reason
        return self._within.reason if self._within is not None else None

    @property
    def gently(self) -> bool:
        """Whether windows that are at the model may still come back and be stored."""
        return self.reason is Reason.DRAINED

    def set(self, reason: Reason) -> None:
        """End the work; a drain may be hardened into a cancel, nothing is softened."""
        first = not self._event.is_set() or self._reason is Reason.DRAINED
        if first or reason is Reason.CANCELLED:
            self._reason = reason
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if the work should end."""
        reason = self.reason
        if reason is not None:
            raise Stopped(reason)
