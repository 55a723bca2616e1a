"""Text work of the backend: a language model on transcripts, now or as a stage of a job."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from starlette.concurrency import run_in_threadpool

from stenograf.backend.hub import Hub
from stenograf.backend.textchat import ChatClient, ignore, not_configured
from stenograf.backend.textprocess import TextProcessor
from stenograf.backend.textrun import Progress, no_progress
from stenograf.backend.textstage import TextStage
from stenograf.backend.textstore import TextStore
from stenograf.contract.errors import BadOptions, Unavailable
from stenograf.contract.text import StageState, TextRequest, TextResult, TextTask, TextView


class TextWork:
    """What the rest of the backend asks of a language model; everything runs on one event loop."""

    def __init__(
        self,
        chat: ChatClient,
        processor: TextProcessor,
        store: TextStore,
        stage: TextStage,
        hub: Hub,
    ) -> None:
        self._chat = chat
        self._processor = processor
        self._store = store
        self._stage = stage
        self._hub = hub

    @property
    def configured(self) -> bool:
        """Whether the operator has named a language model's server."""
        return self._chat.configured

    @property
    def model(self) -> str:
        """Name of the language model, as far as it is known."""
        return self._chat.model

    @asynccontextmanager
    async def running(self, *, alone: bool) -> AsyncIterator[None]:
        """Do the text work of jobs while the block runs; then close the connections.

        `alone`: no other process works on the database.
        """
        try:
            async with self._stage.running(alone=alone):
                yield
        finally:
            await self._chat.close()

    async def process(
        self,
        text: str | Sequence[str],
        task: TextTask,
        instruction: str = "",
        language: str = "ru",
        *,
        on_text: Callable[[str], None] = ignore,
        on_progress: Progress = no_progress,
    ) -> TextResult:
        """Do `task` on a text, or on the passages of one, and wait for the result.

        `language` is the transcript's code and chooses the language of the prompts. `on_text` gets
        the result piece by piece as it comes. Cancelling the call ends the requests.

        Raises BadOptions (nothing to do, no instruction), TextServiceNotConfigured, and
        TextServiceFailed with its kin TextServiceUnavailable and TextServiceTimeout.
        """
        return await self._processor.process(
            text, task, instruction, language, on_text=on_text, on_progress=on_progress
        )

    def require(self, request: TextRequest) -> None:
        """Raise TextServiceNotConfigured for strict work that nobody could ever do."""
        if request.task is not TextTask.NONE and request.strict and not self.configured:
            raise not_configured()

    async def ask(self, job_id: str, request: TextRequest) -> TextView:
        """Begin text work on a finished job, or join what was asked for before.

        Raises BadOptions (nothing to do), TextServiceNotConfigured, NotFound, NotFinished,
        Overloaded.
        """
        if request.task is TextTask.NONE:
            raise BadOptions("There is no text work to do: the task is none.", param="task")
        if not self.configured:
            raise not_configured()
        view = await run_in_threadpool(self._store.ask, job_id, request)
        self._stage.poke()
        return view

    def list(self, job_id: str) -> list[TextView]:
        """All text work of a job, newest first. Raises NotFound."""
        return self._store.list(job_id)

    def get(self, job_id: str, text_id: str) -> TextView:
        """One piece of text work. Raises NotFound."""
        return self._store.get(job_id, text_id)

    def passages(self, job_id: str, task: TextTask) -> tuple[str, ...] | None:
        """The newest result of `task`, one passage for each segment; None when there is none."""
        return self._store.passages(job_id, task)

    def cancel(self, job_id: str, text_id: str) -> TextView:
        """Withdraw a request and end the work on it. Raises NotFound."""
        view = self._store.cancel(job_id, text_id)
        self.withdrawn(job_id)
        return view

    def withdrawn(self, job_id: str) -> None:
        """Rows of a job were withdrawn or removed: end the work on them."""
        self._stage.stop(job_id)
        self._hub.publish_all()

    def poke(self) -> None:
        """A transcript may be complete; any thread may say so."""
        self._stage.poke()

    async def follow(self, job_id: str, text_id: str) -> AsyncGenerator[TextView]:
        """Text work now and whenever it may have changed; ends with a final state.

        Also ends when the service shuts down. Raises NotFound.
        """
        topic = await run_in_threadpool(self._store.topic, job_id)
        async with self._hub.subscribe(topic) as notices:
            while True:
                view = await run_in_threadpool(self._store.get, job_id, text_id)
                yield view
                if view.state.final or self._hub.closed:
                    return
                await notices.changed()

    async def outcome(self, job_id: str, text_id: str) -> TextView:
        """The end of text work, or the first failure that is waited out.

        Raises NotFound, and Unavailable at a shutdown; the work goes on when the service is back.
        """
        async with aclosing(self.follow(job_id, text_id)) as views:
            async for view in views:
                if view.state.final or (
                    view.state is StageState.WAITING and view.error is not None
                ):
                    return view
        raise Unavailable("The service shuts down; the text work goes on when it is back.")
