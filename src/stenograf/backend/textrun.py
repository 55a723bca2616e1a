"""The requests to a language model that one task makes: some at once, in order, counted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

from stenograf.backend.textchat import Answer, ChatClient
from stenograf.backend.textprompts import Prompt

Progress = Callable[[int, int], None]
"""Called with the answers that are there and the answers that are needed."""


def no_progress(done: int, total: int) -> None:
    """Take no notice."""


class Run:
    """The requests of one task, counted."""

    def __init__(
        self,
        chat: ChatClient,
        in_flight: int,
        on_text: Callable[[str], None],
        on_progress: Progress,
    ) -> None:
        self.on_text = on_text
        self._chat = chat
        self._places = asyncio.Semaphore(in_flight)
        self._on_progress = on_progress
        self._done = self._total = 0

    @asynccontextmanager
    async def answers(
        self, prompts: Sequence[Prompt], limits: Sequence[int]
    ) -> AsyncIterator[AsyncIterator[Answer]]:
        """Answers in the order of the prompts; when one fails, or the block ends, no more asked."""
        self._expect(len(prompts))
        tasks = [
            asyncio.ensure_future(self._one(prompt, limit))
            for prompt, limit in zip(prompts, limits, strict=True)
        ]

        async def in_order() -> AsyncIterator[Answer]:
            for task in tasks:
                await _first_failure(tasks, task)
                yield task.result()

        try:
            yield in_order()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def last(self, prompt: Prompt, limit: int) -> Answer:
        """The answer that is the result; its text is shown as it comes."""
        self._expect(1)
        return await self._counted(
            self._chat.complete(prompt, max_chars=limit, on_text=self.on_text)
        )

    async def _one(self, prompt: Prompt, limit: int) -> Answer:
        async with self._places:
            return await self._counted(self._chat.complete(prompt, max_chars=limit))

    async def _counted(self, asking: Coroutine[None, None, Answer]) -> Answer:
        answer = await asking
        self._done += 1
        self._on_progress(self._done, self._total)
        return answer

    def _expect(self, more: int) -> None:
        self._total += more
        self._on_progress(self._done, self._total)


async def _first_failure(
    tasks: Sequence["asyncio.Future[Answer]"], wanted: "asyncio.Future[Answer]"
) -> None:
    """Wait for `wanted`; raise what another of `tasks` fails with meanwhile."""
    while not wanted.done():
        running = [task for task in tasks if not task.done()]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
