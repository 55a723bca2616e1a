"""What a chat sees while it waits: "typing…" at once, and for long work a message that changes."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiogram.exceptions import TelegramAPIError
from aiogram.types import InlineKeyboardMarkup, Message

_TYPING_S = 4.5  # Telegram shows "typing…" for five seconds
_STEP_S = 0.25
_LAST_CALL_S = 5.0


@dataclass(frozen=True)
class Rhythm:
    """When the message appears and how often it changes, seconds."""

    first_s: float = 6.0
    every_s: float = 5.0


@dataclass
class Progress:
    """Shows `told()` in the chat of `message` until it is left; trouble with that is no trouble.

    `shown_id` is the message that an earlier run of the bot showed it in, 0 for none; `on_shown`
    is told when that changes.
    """

    message: Message
    told: Callable[[], str]
    keyboard: InlineKeyboardMarkup
    on_shown: Callable[[int], None]
    shown_id: int = 0
    rhythm: Rhythm = Rhythm()
    _over: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._show())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._over.set()
        # A message on its way is waited for: its number is needed to remove it.
        await asyncio.wait({self._task}, timeout=_LAST_CALL_S)
        self._task.cancel()
        if exc_type is None or not issubclass(exc_type, asyncio.CancelledError):
            await self._remove()

    async def _show(self) -> None:
        began = time.monotonic()
        typed = changed = -1e9
        text = ""
        while not self._over.is_set():
            now = time.monotonic()
            if now - typed >= _TYPING_S:
                typed = now
                await self._type()
            due = now - began >= self.rhythm.first_s and now - changed >= self.rhythm.every_s
            if due and text != self.told():
                changed, text = now, self.told()
                await self._tell(text)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STEP_S):
                    await self._over.wait()

    async def _type(self) -> None:
        bot, chat = self.message.bot, self.message.chat
        thread = self.message.message_thread_id if self.message.is_topic_message else None
        assert bot is not None
        with suppress(TelegramAPIError):
            await bot.send_chat_action(chat.id, "typing", message_thread_id=thread)

    async def _tell(self, text: str) -> None:
        bot, chat_id = self.message.bot, self.message.chat.id
        assert bot is not None
        with suppress(TelegramAPIError):
            if self.shown_id:
                await bot.edit_message_text(
                    text, chat_id=chat_id, message_id=self.shown_id, reply_markup=self.keyboard
                )
            else:
                shown = await self.message.reply(
                    text, reply_markup=self.keyboard, allow_sending_without_reply=True
                )
                self.shown_id = shown.message_id
                self.on_shown(shown.message_id)

    async def _remove(self) -> None:
        bot = self.message.bot
        assert bot is not None
        if self.shown_id:
            with suppress(TelegramAPIError):
                await bot.delete_message(self.message.chat.id, self.shown_id)
            self.on_shown(0)
