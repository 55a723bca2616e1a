"""Text work of the backend: a language model on transcripts, now or as a stage of a job."""

from collections.abc import Callable, Sequence

from stenograf.backend.textchat import ChatClient, ignore
from stenograf.backend.textprocess import Progress, TextProcessor, no_progress
from stenograf.contract.text import TextResult, TextTask


class TextWork:
    """What the rest of the backend asks of a language model; everything runs on one event loop."""

    def __init__(self, chat: ChatClient, *, context_chars: int, in_flight: int) -> None:
        self._chat = chat
        self._processor = TextProcessor(chat, context_chars=context_chars, in_flight=in_flight)

    @property
    def configured(self) -> bool:
        """Whether the operator has named a language model's server."""
        return self._chat.configured

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

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._chat.close()
