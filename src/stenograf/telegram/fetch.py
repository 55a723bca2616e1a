"""A file from Telegram's server, or from the folder of one's own."""

import asyncio
import logging
from pathlib import Path

from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiohttp import ClientError

from stenograf.contract.errors import TooLarge, Transient
from stenograf.telegram.attachment import Attachment
from stenograf.telegram.ticket import Ticket

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_TIMEOUT_S = 1800


class Withheld(TooLarge):
    """Telegram does not give files of this size out."""


class NotFetched(Transient):
    """Telegram did not give the file out."""

    code = "not_fetched"


async def fetch(bot: Bot, attachment: Attachment, path: Path, ticket: Ticket) -> None:
    """Write the file to `path`. Raises Withheld, NotFetched, Cancelled."""
    for attempt in range(1, _ATTEMPTS + 1):
        ticket.check()
        try:
            file = await bot.get_file(attachment.file_id)
            if file.file_path is None:
                raise NotFetched("Telegram names no path for the file.")
            await bot.download_file(file.file_path, path, timeout=_TIMEOUT_S)
            return
        except TelegramBadRequest as error:
            if "too big" in error.message.lower():
                raise Withheld("Telegram does not hand the file out.") from None
            raise NotFetched("Telegram does not hand the file out.") from error
        except (ClientError, OSError, TimeoutError) as error:
            _log.warning("fetching a file: %s", type(error).__name__)
            if attempt == _ATTEMPTS:
                raise NotFetched("Telegram's file server does not answer.") from error
            await asyncio.sleep(2 ** (attempt - 1))
