"""Work that many ask for at the same moment, done once for all of them."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_THREADS = 4


class SharedWork:
    """Does blocking work in threads of its own, so that a crowd keeps nobody else waiting.

    Who asks for what is being done already, by its key, gets the result of that.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="watching")
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}

    async def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` gives or raises; cancelling one who waits is nothing to the others."""
        loop = asyncio.get_running_loop()
        mine = (loop, key)
        found: asyncio.Future[T] | None = self._under_way.get(mine)
        if found is None:
            found = loop.run_in_executor(self._threads, work)
            self._under_way[mine] = found
            found.add_done_callback(lambda done: self._done(mine, done))
        return await asyncio.shield(found)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, key: Hashable, future: asyncio.Future[Any]) -> None:
        self._under_way.pop(key, None)
        if not future.cancelled():
            future.exception()  # those who asked may all have left
