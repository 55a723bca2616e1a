"""What the bot does with each kind of message."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import F, Router
from aiogram.exceptions import TelegramAPIError
from aiogram.filters import Command, CommandObject, CommandStart
from aiogram.types import (
    BufferedInputFile,
    CallbackQuery,
    Chat,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    TelegramObject,
    User,
)

from stenograf.contract.errors import StenografError
from stenograf.telegram.attachment import attachment_of
from stenograf.telegram.guests import Guests
from stenograf.telegram.notebook import Stored
from stenograf.telegram.office import Office
from stenograf.telegram.phrases import Phrases, phrases_for

_LANGUAGE = re.compile(r"auto|[a-z]{2,3}")
_OFFERED = ("ru", "en", "auto")


def router(office: Office, guests: Guests) -> Router:
    """Routes over `office`; who is not among `guests` is told so, in a private chat."""
    routes = Router()
    gate = _Gate(office, guests)
    routes.message.middleware(gate)
    routes.callback_query.middleware(gate)
    _add_commands(routes, office)
    _add_recordings(routes, office)
    _add_buttons(routes, office)
    return routes


class _Gate:
    """Lets guests in and gives every handler its `phrases`."""

    def __init__(self, office: Office, guests: Guests) -> None:
        self._office, self._guests = office, guests

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        user: User | None = data.get("event_from_user")
        chat: Chat | None = data.get("event_chat")
        chosen = self._office.notebook.language(chat.id) if chat else None
        phrases = phrases_for(chosen, user.language_code if user else None)
        if user is not None and self._guests.welcome(user.id, user.username):
            return await handler(event, {**data, "phrases": phrases})
        if user is not None and isinstance(event, Message) and event.chat.type == "private":
            await event.answer(phrases("not_allowed", user_id=user.id))
        return None


def _add_commands(routes: Router, office: Office) -> None:
    @routes.message(CommandStart())
    async def start(message: Message, phrases: Phrases) -> None:
        await message.answer(phrases("start"))

    @routes.message(Command("help"))
    async def help_(message: Message, phrases: Phrases) -> None:
        language = _name(office.language_of(message.chat.id), phrases)
        await message.answer(phrases("help", language=language, limit_mb=office.max_file_mb))

    @routes.message(Command("cancel"))
    async def cancel(message: Message, phrases: Phrases) -> None:
        if not office.cancel(message.chat.id):
            await message.answer(phrases("nothing_to_cancel"))

    @routes.message(Command("language"))
    async def language(message: Message, command: CommandObject, phrases: Phrases) -> None:
        asked = (command.args or "").strip().lower()
        if not asked:
            now = _name(office.language_of(message.chat.id), phrases)
            text = phrases("choose_language", language=now)
            await message.answer(text, reply_markup=_languages(phrases))
        elif _LANGUAGE.fullmatch(asked):
            await message.answer(_chosen(office, message.chat.id, message.from_user, asked))
        else:
            await message.answer(phrases("language_unknown"))


def _add_recordings(routes: Router, office: Office) -> None:
    @routes.message(F.voice | F.audio | F.video | F.video_note | F.document)
    async def recording(message: Message, phrases: Phrases, stored: Stored) -> None:
        attachment = attachment_of(message)
        if attachment is not None:
            await office.answer(message, attachment, stored, phrases)
        elif message.chat.type == "private":
            await message.reply(phrases("not_a_recording"), allow_sending_without_reply=True)

    @routes.message(F.chat.type == "private")
    async def anything_else(message: Message, phrases: Phrases) -> None:
        await message.answer(phrases("send_recording"))


def _add_buttons(routes: Router, office: Office) -> None:
    @routes.callback_query(F.data.startswith("language:"))
    async def language(query: CallbackQuery) -> None:
        asked = (query.data or "").partition(":")[2]
        if isinstance(query.message, Message) and asked in _OFFERED:
            chat_id = query.message.chat.id
            await query.message.edit_text(_chosen(office, chat_id, query.from_user, asked))
        await _settle(query)

    @routes.callback_query(F.data.startswith("cancel:"))
    async def cancel(query: CallbackQuery, phrases: Phrases) -> None:
        asked = (query.data or "").partition(":")[2]
        ticket = office.counter.find(int(asked)) if asked.isdecimal() else None
        if ticket is not None and query.message and ticket.chat_id == query.message.chat.id:
            ticket.cancel()
            await _settle(query)
        else:
            await _settle(query, phrases("nothing_to_cancel"))

    @routes.callback_query(F.data.startswith("srt:"))
    async def subtitles(query: CallbackQuery, phrases: Phrases) -> None:
        job_id = (query.data or "").partition(":")[2]
        message = query.message
        # a client of Telegram may send any data: only what this chat was given is given again
        if not isinstance(message, Message) or not office.notebook.has_job(job_id, message.chat.id):
            await _settle(query, phrases("forgotten"))
            return
        try:
            body = await office.recognizer.subtitles(job_id)
        except StenografError as error:
            await _settle(query, phrases.problem(error)[:200])
            return
        await _settle(query)
        replied = message.reply_to_message
        name = f"telegram_{(replied or message).message_id}.srt"
        await message.reply_document(
            BufferedInputFile(body, name), allow_sending_without_reply=True
        )

    @routes.callback_query()
    async def unknown(query: CallbackQuery) -> None:
        await _settle(query)


async def _settle(query: CallbackQuery, text: str | None = None) -> None:
    """End the waiting sign on a button; an answer that comes too late is refused, and no loss."""
    try:
        await query.answer(text, show_alert=bool(text))
    except TelegramAPIError:
        return


def _chosen(office: Office, chat_id: int, user: User | None, language: str) -> str:
    """Remember the language of a chat; the words that say so, in that language if we speak it."""
    office.notebook.choose_language(chat_id, language)
    phrases = phrases_for(language, user.language_code if user else None)
    return phrases("language_chosen", language=_name(language, phrases))


def _languages(phrases: Phrases) -> InlineKeyboardMarkup:
    row = [
        InlineKeyboardButton(text=_name(code, phrases), callback_data=f"language:{code}")
        for code in _OFFERED
    ]
    return InlineKeyboardMarkup(inline_keyboard=[row])


def _name(language: str, phrases: Phrases) -> str:
    return phrases(f"language_{language}") if language in _OFFERED else language
