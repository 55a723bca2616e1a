"""The Wyoming server: a socket, a bounded number of conversations, an end."""

import asyncio
import logging
from contextlib import suppress
from typing import Self

from stenograf.backend.service import Service
from stenograf.backend.wyoming.conversation import Conversation
from stenograf.backend.wyoming.events import MAX_LINE_BYTES, Event, read, write
from stenograf.contract.errors import BadRequest, Overloaded, StenografError

_log = logging.getLogger(__name__)
_MAX_CLIENTS = 16
_LOOK_S = 1.0  # how often it is looked whether a waiting client is still there


class WyomingServer:
    """Serves on `host:port` while entered; the protocol knows no keys."""

    def __init__(
        self, service: Service, *, host: str, port: int, idle_timeout_s: float = 300.0
    ) -> None:
        self._service = service
        self._host = host
        self._port = port
        self._idle_timeout_s = idle_timeout_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError if the address is taken."""
        self._server = await asyncio.start_server(
            self._client, self._host, self._port, limit=MAX_LINE_BYTES
        )
        _log.info("Wyoming on %s:%d", self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every conversation and the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            with suppress(ConnectionError, TimeoutError):
                if len(self._clients) > _MAX_CLIENTS:
                    await write(writer, _told(Overloaded("Too many clients at the same time.")))
                else:
                    await self._converse(reader, writer)
        except Exception:
            _log.exception("a Wyoming conversation failed")
        except asyncio.CancelledError:
            pass  # the service ends: whoever waits for the socket is told by its end
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(self._service)
        while True:
            try:
                event = await asyncio.wait_for(read(reader), self._idle_timeout_s)
            except BadRequest as error:  # where the next event begins is not known any more
                await write(writer, _told(error))
                await _hang_up(reader, writer)
                return
            if event is None:
                return
            answering = asyncio.ensure_future(_answer(conversation, event, writer))
            try:
                while not answering.done():
                    await asyncio.wait({answering}, timeout=_LOOK_S)
                    if writer.is_closing():
                        return
                answering.result()
            finally:
                answering.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await answering


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the sending side and let the rest come in: a reset would take the last word back."""
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_S):
            while await reader.read(64 * 1024):
                pass


async def _answer(conversation: Conversation, event: Event, writer: asyncio.StreamWriter) -> None:
    try:
        async for answer in conversation.answers(event):
            await write(writer, answer)
    except StenografError as error:
        await write(writer, _told(error))


def _told(error: StenografError) -> Event:
    text = f"{error.message} {error.hint or ''}".strip()
    return Event("error", {"text": text, "code": error.code})
