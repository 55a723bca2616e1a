"""The windows of one sound at the model: some at a time, their results in order.

No window's text depends on another's, so those of one sound may share a batch like anybody's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from stenograf.contract.errors import Cancelled
from stenograf.contract.pcm import Waveform
from stenograf.llm.batcher import Batcher
from stenograf.llm.engines.base import EngineOptions, WindowResult
from stenograf.llm.render import Heard

_Answer = asyncio.Future[WindowResult]


async def in_order(
    batcher: Batcher,
    windows: Iterable[tuple[int, Waveform]],
    options: EngineOptions,
    recording: str,
    gone: asyncio.Future[Any],
    *,
    head_start_s: float = 0.0,
) -> AsyncGenerator[Heard]:
    """Recognize windows, each (offset in samples, waveform), as many at once as two batches hold.

    So one waits whole while the other is computed. All but the next window are sent only while the
    queue has room for others; once the first has found a place the next always does. The first one
    is alone for `head_start_s`, so that an idle model gives its text before it begins with a batch.
    Raises Cancelled once `gone` is done, what the batcher raises, and a window's error in its turn;
    what is still under way then is given up.
    """
    todo = deque(windows)
    n_windows = len(todo)
    asked: deque[tuple[int, int, _Answer]] = deque()

    def ask() -> _Answer:
        begun = len(todo) < n_windows
        offset, window = todo.popleft()
        answer = asyncio.wrap_future(batcher.submit(window, options, recording, begun=begun))
        asked.append((offset, offset + window.shape[0], answer))
        return answer

    try:
        if todo and head_start_s:
            await _either(ask(), gone, head_start_s)
        while todo or asked:
            while todo and (not asked or (len(asked) < 2 * batcher.fits and batcher.has_room)):
                ask()
            start, end, answer = asked[0]
            await _either(answer, gone)
            if not answer.done():
                raise Cancelled("The client went away.")
            asked.popleft()
            yield Heard(start, end, answer.result())
    finally:
        for _, _, answer in asked:
            _give_up(answer)


async def _either(
    answer: _Answer, gone: asyncio.Future[Any], timeout_s: float | None = None
) -> None:
    both: set[asyncio.Future[Any]] = {answer, gone}
    await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


def _give_up(answer: _Answer) -> None:
    if not answer.cancel() and not answer.cancelled():
        answer.exception()  # seen, and of no interest beside the error that ended the work
