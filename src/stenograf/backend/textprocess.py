"""The order of the requests to a language model that one task on one text takes."""

import asyncio
from collections.abc import Callable, Sequence

from stenograf.backend import textprompts
from stenograf.backend.textchat import ChatClient, ignore, not_configured
from stenograf.backend.textmerge import Punctuated
from stenograf.backend.textprompts import Prompt
from stenograf.backend.textrun import Progress, Run, no_progress
from stenograf.backend.textsplit import Passages, Piece
from stenograf.contract.errors import BadOptions
from stenograf.contract.text import TextResult, TextTask
from stenograf.contract.transcript import Warning

_OVERLAP_CHARS = 500
_PUNCTUATION_CHARS = 3_000  # models copy a short text faithfully, a long one hardly
_PUNCTUATION_OVERLAP_CHARS = 240
_ROOM_CHARS = 2_000  # an answer may be so much longer than its text


class TextProcessor:
    """Tasks on texts of any length, through a model that takes `context_chars` at a time.

    `in_flight` pieces of one text are asked for at once.
    """

    def __init__(self, chat: ChatClient, *, context_chars: int, in_flight: int) -> None:
        self._chat = chat
        self._context_chars = context_chars
        self._in_flight = in_flight

    async def model(self) -> str:
        """Name of the model that will answer. Raises what `ChatClient.identify` does."""
        return await self._chat.identify()

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
        """Do `task` on `text`, or on passages of it; `on_text` gets the result as it grows.

        Long texts go in overlapping pieces: punctuation is merged word by word, so no word is ever
        lost or invented; summaries and instructions are done on every piece and then on the
        answers. Raises BadOptions, TextServiceNotConfigured, and what `ChatClient.complete` does.
        """
        _check(task, instruction)
        if not self._chat.configured:
            raise not_configured()
        passages = [text] if isinstance(text, str) else list(text)
        run = Run(self._chat, self._in_flight, on_text, on_progress)
        if not any(passage.strip() for passage in passages):
            silent = Warning(code="no_text", message="There is no text to work on.")
            return TextResult(text="", task=task, instruction=instruction, warnings=(silent,))
        if task is TextTask.PUNCTUATION:
            return await self._punctuate(passages, language, run)
        return await self._digest(passages, task, instruction, language, run)

    async def _punctuate(self, given: list[str], language: str, run: Run) -> TextResult:
        max_chars = min(self._context_chars, _PUNCTUATION_CHARS)
        pieces, merged = await asyncio.to_thread(_cut_to_merge, given, max_chars)
        prompts = [
            textprompts.whole(TextTask.PUNCTUATION, "", language, piece.text) for piece in pieces
        ]
        limits = [2 * len(piece.text) + _ROOM_CHARS for piece in pieces]
        warnings = []
        async with run.answers(prompts, limits) as answers:
            index = 0
            async for answer in answers:
                missing = await asyncio.to_thread(merged.accept, index, answer.text)
                if missing:
                    warnings.append(_words_kept(missing, pieces[index]))
                run.on_text(merged.settled(index))
                index += 1
        return TextResult(
            text=merged.text().strip(),
            task=TextTask.PUNCTUATION,
            model=self._chat.model,
            passages=await asyncio.to_thread(merged.passages),
            warnings=tuple(warnings),
        )

    async def _digest(
        self, given: list[str], task: TextTask, instruction: str, language: str, run: Run
    ) -> TextResult:
        room = self._context_chars
        text, pieces = await asyncio.to_thread(_cut_to_read, given, room)
        prompt = textprompts.whole(task, instruction, language, text)
        warnings: list[Warning] = []
        if len(pieces) > 1:
            prompts = [
                textprompts.part(task, instruction, language, piece.text, at, len(pieces))
                for at, piece in enumerate(pieces, start=1)
            ]
            notes = await self._notes(prompts, run, warnings)
            while sum(len(note) + 2 for note in notes) > room:
                groups = _groups(notes, room)
                prompts = [
                    textprompts.combine(task, instruction, language, group) for group in groups
                ]
                notes = await self._notes(prompts, run, warnings)
            prompt = textprompts.combine(task, instruction, language, "\n\n".join(notes))
        answer = await run.last(prompt, 2 * room + _ROOM_CHARS)
        if answer.cut:
            warnings.append(_cut_short())
        return TextResult(
            text=answer.text,
            task=task,
            instruction=instruction,
            model=answer.model,
            warnings=tuple(warnings),
        )

    async def _notes(self, prompts: list[Prompt], run: Run, warnings: list[Warning]) -> list[str]:
        """An answer to each prompt, short enough that two of them fit into one request."""
        longest = self._context_chars // 2 - 2
        limits = [2 * self._context_chars + _ROOM_CHARS] * len(prompts)
        notes = []
        async with run.answers(prompts, limits) as answers:
            async for answer in answers:
                if answer.cut or len(answer.text) > longest:
                    warnings.append(_cut_short())
                notes.append(answer.text[:longest])
        return notes


def _cut_to_merge(given: Sequence[str], max_chars: int) -> tuple[list[Piece], Punctuated]:
    passages = Passages(given)
    pieces = passages.pieces(max_chars, _PUNCTUATION_OVERLAP_CHARS)
    return pieces, Punctuated(passages, pieces)


def _cut_to_read(given: Sequence[str], max_chars: int) -> tuple[str, list[Piece]]:
    passages = Passages(given, joint="\n")
    return passages.text, passages.pieces(max_chars, min(_OVERLAP_CHARS, max_chars // 10))


def _check(task: TextTask, instruction: str) -> None:
    if task is TextTask.NONE:
        raise BadOptions("There is no text work to do: the task is none.", param="task")
    if task is TextTask.INSTRUCTION and not instruction.strip():
        raise BadOptions("The task instruction needs an instruction.", param="instruction")


def _groups(notes: Sequence[str], room: int) -> list[str]:
    """Notes joined in order, two or more at a time, as many as fit; an odd one may be left."""
    groups: list[list[str]] = []
    for note in notes:
        last = groups[-1] if groups else []
        if last and sum(len(other) + 2 for other in last) + len(note) <= room:
            last.append(note)
        else:
            groups.append([note])
    return ["\n\n".join(group) for group in groups]


def _words_kept(missing: int, piece: Piece) -> Warning:
    beginning = " ".join(piece.text.split()[:6])
    return Warning(
        code="words_kept",
        message=f"The language model changed {missing} words; they stay as they were recognized, "
        f"in the part that begins with “{beginning}”.",
    )


def _cut_short() -> Warning:
    return Warning(
        code="answer_cut",
        message="An answer of the language model was too long and ends in the middle.",
    )
