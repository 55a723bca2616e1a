"""OpenAI's Realtime protocol for transcription: the websocket `/v1/realtime`."""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from stenograf.backend.realtime import events
from stenograf.backend.realtime.config import SessionConfig
from stenograf.backend.realtime.desk import RealtimeDesk
from stenograf.backend.realtime.line import Ended
from stenograf.contract.errors import StenografError
from stenograf.httpanswers import internal_error, render

_log = logging.getLogger(__name__)
_SUBPROTOCOL = "realtime"  # what browsers ask for beside their key, and want to hear back
_OLD_HEADER, _OLD_SUBPROTOCOL = "realtime=v1", "openai-beta.realtime-v1"
_INTERNAL_ERROR = 1011
_CLOSE_S = 5.0


def router(desk: RealtimeDesk) -> APIRouter:
    """The route over `desk`."""
    api = APIRouter()

    @api.websocket("/v1/realtime")
    async def realtime(websocket: WebSocket) -> None:
        """A live transcription."""
        try:
            with desk.place():
                config = _config_of(websocket)
                await desk.check(config)
                await _converse(desk, websocket, config)
        except StenografError as error:
            path = websocket.url.path
            await websocket.send_denial_response(render(error, request_id=None, path=path))

    return api


async def _converse(desk: RealtimeDesk, websocket: WebSocket, config: SessionConfig) -> None:
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
    old = websocket.headers.get("openai-beta") == _OLD_HEADER or _OLD_SUBPROTOCOL in offered
    line = _WebSocketLine(websocket)
    try:
        await desk.conversation(line, config, old_dialect=old).run()
    except Ended as ended:
        code, reason = ended.code, ended.reason
    except Exception:
        _log.exception("a live transcription failed")
        code, reason = _INTERNAL_ERROR, internal_error().message
        await _last_word(line)
    if code is not None and websocket.client_state is WebSocketState.CONNECTED:
        with suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(_CLOSE_S):  # who does not read does not answer either
                await websocket.close(code, reason)


async def _last_word(line: "_WebSocketLine") -> None:
    try:
        await line.send(events.error(internal_error()))
    except Ended:
        return


def _config_of(websocket: WebSocket) -> SessionConfig:
    """The configuration that the address asks for. Raises BadOptions."""
    query = websocket.query_params
    # The name of a model that converses says nothing about the one that transcribes.
    asked: dict[str, Any] = {"model": query.get("transcription_model") or query.get("model", "")}
    if query.get("language"):
        asked["language"] = query["language"]
    return SessionConfig().updated({"audio": {"input": {"transcription": asked}}})


class _WebSocketLine:
    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise Ended
        body: str | bytes | None = message.get("text")
        return body if body is not None else message.get("bytes") or b""

    async def send(self, event: Mapping[str, Any]) -> None:
        try:
            await self._websocket.send_text(json.dumps(event))
        except (WebSocketDisconnect, RuntimeError):
            raise Ended from None
