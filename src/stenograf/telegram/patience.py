"""Calls to Telegram that are repeated when it asks for that, or does not answer."""

import asyncio
import logging

from aiogram import Bot
from aiogram.client.session.middlewares.base import BaseRequestMiddleware, NextRequestMiddlewareType
from aiogram.exceptions import (
    TelegramEntityTooLarge,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.methods import GetUpdates, Response, TelegramMethod
from aiogram.methods.base import TelegramType

_log = logging.getLogger(__name__)
_ATTEMPTS = 6
_LONGEST_PAUSE_S = 60.0
_LONGEST_ASKED_S = 900.0


class Patience(BaseRequestMiddleware):
    """Repeats every call but the asking for messages, which has a loop of its own.

    A message may be sent twice when the answer to the first call was lost.
    """

    def __init__(self, first_pause_s: float = 1.0) -> None:
        self._first_pause_s = first_pause_s

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        """Call, and call again."""
        if method.__api_method__ == GetUpdates.__api_method__:
            return await make_request(bot, method)
        for attempt in range(1, _ATTEMPTS):
            try:
                return await make_request(bot, method)
            except TelegramRetryAfter as error:
                pause_s = float(error.retry_after)
                if pause_s > _LONGEST_ASKED_S:
                    raise
            except TelegramEntityTooLarge:
                raise
            except (TelegramNetworkError, TelegramServerError) as error:
                pause_s = min(self._first_pause_s * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
                _log.warning("%s: %s", method.__api_method__, error)
            await asyncio.sleep(pause_s)
        return await make_request(bot, method)
