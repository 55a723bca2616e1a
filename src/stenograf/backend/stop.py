"""One signal that ends a running recognition, with its reason."""

import threading
from enum import StrEnum


class Reason(StrEnum):
    """Why the work ends before its end."""

    CANCELLED = "cancelled"  # nobody wants the result any more
    DRAINED = "drained"  # the service shuts down; the work goes back to the queue
    LOST = "lost"  # the lease went to another worker


class Stopped(Exception):
    """Raised inside the pipeline once its signal is set; never shown to a user."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Stop:
    """Set once, read by everybody; the first reason wins unless a stronger one follows."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = Reason.LOST

    def __call__(self) -> bool:
        """Whether the work should end."""
        return self._event.is_set()

    @property
    def gently(self) -> bool:
        """Whether windows that are at the model may still come back and be stored."""
        return self._event.is_set() and self._reason is Reason.DRAINED

    def set(self, reason: Reason) -> None:
        """End the work; a drain may be hardened into a cancel, nothing is softened."""
        if not self._event.is_set() or self._reason is Reason.DRAINED:
            self._reason = reason
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until set, at most `timeout_s`; whether it is set."""
        return self._event.wait(timeout_s)

    def check(self) -> None:
        """Raise Stopped if the work should end."""
        if self._event.is_set():
            raise Stopped(self._reason)
