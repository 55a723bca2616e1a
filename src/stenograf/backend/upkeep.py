"""What has to be done again and again: renew leases, take back lost ones, remove what expired."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)
_CLOSE_S = 1.0


@dataclass
class Chore:
    """`do` every `every_s` seconds."""

    name: str
    every_s: float
    do: Callable[[], None]
    due_at: float = 0.0


class Upkeep:
    """Runs chores on one thread; one that fails is logged and tried again at its next time."""

    def __init__(self, chores: list[Chore]) -> None:
        self._chores = chores
        self._tick_s = min(chore.every_s for chore in chores) / 2
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a chore that is being done has a moment to finish."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._closed.wait(self._tick_s):
            now = time.monotonic()
            for chore in self._chores:
                if now >= chore.due_at:
                    chore.due_at = now + chore.every_s
                    _do(chore)


def _do(chore: Chore) -> None:
    try:
        chore.do()
    except Exception:
        _log.exception("%s failed; it is tried again", chore.name)
