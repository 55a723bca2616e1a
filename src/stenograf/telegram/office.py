"""A message with a recording -> its text as the answer."""

import asyncio
import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiogram.exceptions import TelegramAPIError, TelegramForbiddenError, TelegramNotFound
from aiogram.types import BufferedInputFile, InlineKeyboardButton, InlineKeyboardMarkup, Message

from stenograf.contract.errors import Cancelled, StenografError
from stenograf.telegram.attachment import Attachment
from stenograf.telegram.fetch import Withheld, fetch
from stenograf.telegram.notebook import Notebook, Stored
from stenograf.telegram.phrases import Phrases
from stenograf.telegram.progress import Progress, Rhythm
from stenograf.telegram.recognizer import Recognizer
from stenograf.telegram.ticket import Counter, Place, Ticket

_log = logging.getLogger(__name__)
_MAX_TEXT_UNITS = 4096  # UTF-16, as Telegram counts
_CAPTION_UNITS = 600
_MAX_PER_CHAT = 20


@dataclass(frozen=True)
class Office:
    """Does the work for every chat, `places` recordings at the same time."""

    notebook: Notebook
    recognizer: Recognizer
    places: asyncio.Semaphore
    folder: Path
    max_file_bytes: int
    default_language: str
    rhythm: Rhythm
    counter: Counter = field(default_factory=Counter)

    @property
    def max_file_mb(self) -> int:
        """The largest file that Telegram hands out, megabytes."""
        return self.max_file_bytes // 1024**2

    def language_of(self, chat_id: int) -> str:
        """The language spoken in a chat."""
        return self.notebook.language(chat_id) or self.default_language

    async def answer(
        self, message: Message, attachment: Attachment, stored: Stored, phrases: Phrases
    ) -> None:
        """Recognize a recording and answer its message with the text, or with what went wrong."""
        chat_id = message.chat.id
        waiting = len(self.counter.of_chat(chat_id))
        if attachment.size_bytes > self.max_file_bytes:
            await self._say(message, phrases("too_big", limit_mb=self.max_file_mb))
            return
        if waiting >= _MAX_PER_CHAT:
            await self._say(message, phrases("too_many", count=waiting))
            return
        ticket = Ticket(chat_id)
        with self.counter.opened(stored.update_id, ticket):
            try:
                async with self._progress(message, ticket, stored, phrases):
                    job_id, text = await self._recognize(message, attachment, stored, ticket)
            except Cancelled:
                await self._say(message, phrases("cancelled"))
            except Withheld:
                await self._say(message, phrases("too_big", limit_mb=self.max_file_mb))
            except StenografError as error:
                _log.warning("a recording was not recognized: %s", error.message)
                await self._say(message, phrases.problem(error))
            except TelegramAPIError:  # the message stays, and is tried again
                raise
            except Exception:
                _log.exception("a recording was not recognized")
                await self._say(message, phrases("error_internal"))
            else:
                await self._deliver(message, text, job_id, phrases)

    def cancel(self, chat_id: int) -> int:
        """Give up everything that a chat waits for; how many recordings that was."""
        tickets = [t for t in self.counter.of_chat(chat_id) if not t.cancelled.is_set()]
        for ticket in tickets:
            ticket.cancel()
        return len(tickets)

    def _progress(
        self, message: Message, ticket: Ticket, stored: Stored, phrases: Phrases
    ) -> Progress:
        update_id = stored.update_id
        button = InlineKeyboardButton(text=phrases("cancel"), callback_data=f"cancel:{update_id}")
        return Progress(
            message,
            told=lambda: ticket.told(phrases),
            keyboard=InlineKeyboardMarkup(inline_keyboard=[[button]]),
            on_shown=lambda message_id: self.notebook.note_progress(update_id, message_id),
            shown_id=stored.progress_id,
            rhythm=self.rhythm,
        )

    async def _recognize(
        self, message: Message, attachment: Attachment, stored: Stored, ticket: Ticket
    ) -> tuple[str, str]:
        async with Place(self.places, ticket):
            job_id = stored.job_id
            if not job_id:
                job_id = await self._hand_over(message, attachment, ticket)
                self.notebook.note_job(stored.update_id, job_id, message.chat.id)
            return job_id, await self.recognizer.text(job_id, ticket)

    async def _hand_over(self, message: Message, attachment: Attachment, ticket: Ticket) -> str:
        assert message.bot is not None
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            path = Path(folder, attachment.name)
            await fetch(message.bot, attachment, path, ticket)
            language = self.language_of(message.chat.id)
            return await self.recognizer.submit(path, language, ticket)

    async def _deliver(self, message: Message, text: str, job_id: str, phrases: Phrases) -> None:
        if not text:
            await self._say(message, phrases("no_speech"))
            return
        button = InlineKeyboardButton(text=phrases("subtitles"), callback_data=f"srt:{job_id}")
        keyboard = InlineKeyboardMarkup(inline_keyboard=[[button]])
        if _units(text) <= _MAX_TEXT_UNITS:
            await self._say(message, text, keyboard)
            return
        beginning = f"{_cut(text, _CAPTION_UNITS)}…"
        file = BufferedInputFile(text.encode() + b"\n", f"telegram_{message.message_id}.txt")
        with suppress(TelegramForbiddenError, TelegramNotFound):
            await message.reply_document(
                file,
                caption=phrases("file_caption", beginning=beginning),
                reply_markup=keyboard,
                allow_sending_without_reply=True,
            )

    async def _say(
        self, message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> None:
        # who blocked the bot in the meantime, or left, wants no answer
        with suppress(TelegramForbiddenError, TelegramNotFound):
            await message.reply(text, reply_markup=keyboard, allow_sending_without_reply=True)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _cut(text: str, units: int) -> str:
    """The beginning of a text up to a whole word."""
    beginning = text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore")
    return beginning.rsplit(maxsplit=1)[0]
