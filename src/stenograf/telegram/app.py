"""The bot's parts, wired, and its life."""

import asyncio
import logging
import shutil
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from aiogram import Bot, Dispatcher
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError, TelegramUnauthorizedError
from aiogram.types import BotCommand, Update
from aiogram.utils.token import TokenValidationError

from stenograf.client import Client
from stenograf.redact import masked
from stenograf.settings import TelegramSettings
from stenograf.startup import configured, refuse_unusable, starting
from stenograf.telegram import intake
from stenograf.telegram.crew import Crew
from stenograf.telegram.guests import Guests
from stenograf.telegram.handlers import router
from stenograf.telegram.notebook import Notebook, Stored
from stenograf.telegram.office import Office
from stenograf.telegram.patience import Patience
from stenograf.telegram.phrases import LOCALES, Phrases
from stenograf.telegram.progress import Rhythm
from stenograf.telegram.recognizer import Recognizer

_log = logging.getLogger(__name__)
_CLOUD_FILE_BYTES = 20 * 1024**2  # https://core.telegram.org/bots/api#getfile
_OWN_FILE_BYTES = 2000 * 1024**2
_COMMANDS = ("language", "cancel", "help")
_SPARE_THREADS = 4


class CannotStart(Exception):
    """The settings do not make a bot; the message says why."""


async def run(settings: TelegramSettings, rhythm: Rhythm | None = None) -> None:
    """Be a bot until cancelled. Raises CannotStart."""
    _check(settings)
    folder = settings.data_dir.resolve() / "telegram"
    async with AsyncExitStack() as stack:
        notebook = stack.enter_context(Notebook(folder / "telegram.db"))
        bot = _bot(settings)
        stack.push_async_callback(bot.session.close)
        office = _office(settings, notebook, folder / "files", rhythm or Rhythm())
        stack.callback(office.recognizer.close)
        dispatcher = Dispatcher()
        dispatcher.include_router(router(office, Guests(settings.telegram_allowed_users)))

        async def answer(stored: Stored) -> None:
            update = Update.model_validate_json(stored.body, context={"bot": bot})
            await dispatcher.feed_update(bot, update, stored=stored)

        crew = Crew(notebook, answer)
        await _introduce(bot)
        async with asyncio.TaskGroup() as group:
            group.create_task(crew.run())
            group.create_task(_receive(settings, bot, notebook, crew))


def main() -> None:
    """Read the settings once and be a bot until a signal comes."""
    with starting("bot"):
        settings = configured(TelegramSettings)
        refuse_unusable(settings.data_dir)
    _log_to_stderr(settings)
    try:
        asyncio.run(_until_signal(settings))
    except CannotStart as error:
        sys.exit(f"The bot does not start. {error}")


async def _until_signal(settings: TelegramSettings) -> None:
    task = asyncio.ensure_future(run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _check(settings: TelegramSettings) -> None:
    if not settings.telegram_token:
        raise CannotStart("TELEGRAM_TOKEN is empty; @BotFather in Telegram gives one out.")
    if settings.telegram_webhook_url and not settings.telegram_webhook_secret:
        raise CannotStart("TELEGRAM_WEBHOOK_SECRET is empty, and a webhook needs one.")
    if not settings.telegram_allowed_users.strip():
        _log.warning("TELEGRAM_ALLOWED_USERS is empty: nobody is let in, everybody told their id")


def _bot(settings: TelegramSettings) -> Bot:
    server = TelegramAPIServer.from_base(
        settings.telegram_api_url, is_local=settings.telegram_api_local
    )
    session = AiohttpSession(api=server)
    session.middleware(Patience())
    try:
        # a transcript may name an address, which would grow a preview
        plain = DefaultBotProperties(link_preview_is_disabled=True)
        return Bot(settings.telegram_token, session=session, default=plain)
    except TokenValidationError:
        raise CannotStart("TELEGRAM_TOKEN does not look like a bot's token.") from None


def _office(settings: TelegramSettings, notebook: Notebook, files: Path, rhythm: Rhythm) -> Office:
    shutil.rmtree(files, ignore_errors=True)  # what an earlier run was fetching
    files.mkdir(parents=True)
    jobs = settings.telegram_jobs_at_once
    client = Client(settings.backend_endpoint, api_key=settings.stenograf_api_key)
    return Office(
        notebook=notebook,
        recognizer=Recognizer(client, 2 * jobs + _SPARE_THREADS),
        places=asyncio.Semaphore(jobs),
        folder=files,
        max_file_bytes=_OWN_FILE_BYTES if settings.telegram_api_local else _CLOUD_FILE_BYTES,
        default_language=settings.telegram_language,
        rhythm=rhythm,
    )


async def _introduce(bot: Bot) -> None:
    try:
        me = await bot.get_me()
    except TelegramUnauthorizedError:
        raise CannotStart("Telegram does not know this TELEGRAM_TOKEN.") from None
    except TelegramNetworkError as error:
        raise CannotStart(f"Telegram cannot be reached. {error.message}") from None
    _log.info("the bot is @%s", me.username)
    for locale in LOCALES:
        phrases = Phrases(locale)
        commands = [
            BotCommand(command=name, description=phrases(f"command_{name}")) for name in _COMMANDS
        ]
        await bot.set_my_commands(commands, language_code=locale if locale != "en" else None)


async def _receive(settings: TelegramSettings, bot: Bot, notebook: Notebook, crew: Crew) -> None:
    if not settings.telegram_webhook_url:
        await intake.poll(bot, notebook, crew.poke)
        return
    await intake.serve(
        bot,
        notebook,
        crew.poke,
        url=settings.telegram_webhook_url,
        secret=settings.telegram_webhook_secret,
        host=settings.telegram_webhook_host,
        port=settings.telegram_webhook_port,
    )


class _Masked(logging.Formatter):
    """Keeps keys and the token, which is part of every address, out of lines and tracebacks."""

    def __init__(self, token: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        """One line, or more with a traceback."""
        line = masked(super().format(record))
        return line.replace(self._token, "***") if self._token else line


def _log_to_stderr(settings: TelegramSettings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Masked(settings.telegram_token))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.getLogger("aiogram.event").setLevel(logging.WARNING)
