"""How messages reach the notebook: the bot asks for them, or Telegram calls it.

Either way Telegram is told that a message arrived only once it is stored.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Callable

from aiogram import Bot
from aiogram.exceptions import (
    TelegramConflictError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import Update
from aiohttp import web
from pydantic import ValidationError

from stenograf.telegram.notebook import Notebook

_log = logging.getLogger(__name__)
KINDS = ["message", "callback_query"]
_POLL_S = 30
_LONGEST_PAUSE_S = 60.0
_MAX_BODY_BYTES = 1024**2
_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


async def poll(bot: Bot, notebook: Notebook, poke: Callable[[], None]) -> None:
    """Ask for messages until cancelled. Raises what asking again does not help against."""
    await bot.delete_webhook(drop_pending_updates=False)
    offset: int | None = None
    pause_s = 1.0
    while True:
        try:
            updates = await bot.get_updates(
                offset=offset,
                timeout=_POLL_S,
                allowed_updates=KINDS,
                request_timeout=_POLL_S + 15,
            )
        except TelegramRetryAfter as error:
            await asyncio.sleep(error.retry_after)
        except (TelegramNetworkError, TelegramServerError, TelegramConflictError) as error:
            _log.warning("asking for messages: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        else:
            pause_s = 1.0
            for update in updates:
                body = update.model_dump_json(by_alias=True, exclude_none=True)
                notebook.receive(update.update_id, body)
                offset = update.update_id + 1
            poke()


async def serve(
    bot: Bot,
    notebook: Notebook,
    poke: Callable[[], None],
    *,
    url: str,
    secret: str,
    host: str,
    port: int,
) -> None:
    """Let Telegram call `url`, which leads to `host:port` here, until cancelled."""

    async def receive(request: web.Request) -> web.Response:
        given = request.headers.get(_SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode()):
            return web.Response(status=401)
        body = await request.text()
        try:
            update = Update.model_validate(json.loads(body))
        except (ValueError, RecursionError, ValidationError):
            return web.Response(status=400)
        notebook.receive(update.update_id, body)
        poke()
        return web.Response()

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_post("/{any:.*}", receive)  # the proxy in front decides about the path
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await bot.set_webhook(
            url, secret_token=secret, allowed_updates=KINDS, drop_pending_updates=False
        )
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
