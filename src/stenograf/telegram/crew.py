"""Answers the messages of the notebook, oldest first, a bounded number at the same time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiogram.exceptions import TelegramNetworkError, TelegramRetryAfter, TelegramServerError

from stenograf.telegram.notebook import Notebook, Stored

_log = logging.getLogger(__name__)
_MAX_ATTEMPTS = 3
_MAX_TASKS = 100


class Crew:
    """Calls `answer` for each message until it returns; one that keeps failing is given up."""

    def __init__(
        self,
        notebook: Notebook,
        answer: Callable[[Stored], Awaitable[None]],
        away_s: float = 30.0,
    ) -> None:
        self._notebook, self._answer = notebook, answer
        self._away_s = away_s
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._news.set()

    def poke(self) -> None:
        """There is a new message in the notebook."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled; what is not finished then stays in the notebook."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                room = _MAX_TASKS - len(self._tasks)
                for stored in self._notebook.waiting(room, without=self._tasks.keys()):
                    task = asyncio.create_task(self._attempt(stored))
                    self._tasks[stored.update_id] = task
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt(self, stored: Stored) -> None:
        update_id = stored.update_id
        self._notebook.begin(update_id)
        try:
            await self._answer(stored)
        except asyncio.CancelledError:
            self._notebook.interrupt(update_id)
            raise
        except (TelegramNetworkError, TelegramServerError, TelegramRetryAfter):
            self._notebook.interrupt(update_id)  # Telegram will be back some time
            await asyncio.sleep(self._away_s)
        except Exception:
            _log.exception("message %d was not answered", update_id)
            if stored.attempts + 1 >= _MAX_ATTEMPTS:
                self._notebook.finish(update_id)
        else:
            self._notebook.finish(update_id)
        finally:
            del self._tasks[update_id]
            self._news.set()
