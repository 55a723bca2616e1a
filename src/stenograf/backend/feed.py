"""Windows on their way from the thread that finds them to the one that has them recognized."""

import threading
from collections import deque
from collections.abc import Iterable

from stenograf.backend.records import PlannedWindow

Task = tuple[int, PlannedWindow]
"""A window and its position in the plan."""


class Feed:
    """Open until it is closed; an error it is closed with overtakes the windows."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, tasks: Iterable[Task]) -> None:
        """Add windows."""
        with self._changed:
            self._tasks.extend(tasks)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """No more windows come; with `error` the work on them is to end."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether everything is taken and nothing more will come. Raises the error."""
        with self._changed:
            self._check()
            return self._closed and not self._tasks

    def take(self) -> Task | None:
        """The next window; None when there is none now. Raises the error."""
        with self._changed:
            self._check()
            return self._tasks.popleft() if self._tasks else None

    def wait(self, timeout_s: float) -> bool:
        """Until there is a window to take or the feed is closed; whether it is so by now."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or bool(self._tasks), timeout_s)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
