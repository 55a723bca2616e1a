"""Runs the backend as a process."""

import logging
import socket

import uvicorn

from stenograf.backend.app import House, create_app
from stenograf.backend.realtime.socket import BoundedWebSocket
from stenograf.descriptors import raise_limit, room_for_connections
from stenograf.heap import keep_freed_memory
from stenograf.httpserver import Server, deadline_protocol
from stenograf.redact import mask_logs
from stenograf.settings import BackendSettings
from stenograf.startup import configured, refuse_taken, refuse_unusable, starting

_GRACE_S = 3  # what is cut off after it resumes: uploads at their offset, jobs at their window


class _Server(Server):
    """Tells the house of a shutdown before waiting for open connections, not after.

    An event stream would otherwise be waited for until the grace period is over.
    """

    def __init__(self, config: uvicorn.Config, house: House) -> None:
        super().__init__(config)
        self._house = house

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._house.drain()
        await super().shutdown(sockets)


def main() -> None:
    """Read the settings once and serve until a signal comes."""
    keep_freed_memory()
    raise_limit()
    with starting("backend"):
        settings = configured(BackendSettings)
        refuse_unusable(settings.data_dir)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with starting("backend"):
        app = create_app(settings)
        app.state.house.prepare()
        refuse_taken("BACKEND", settings.backend_host, settings.backend_port)
        if settings.wyoming_port:
            refuse_taken("WYOMING", settings.wyoming_host, settings.wyoming_port)
    config = uvicorn.Config(
        app,
        host=settings.backend_host,
        port=settings.backend_port,
        log_level=settings.log_level,
        http=deadline_protocol(
            idle_timeout_s=settings.request_timeout_s, max_connections=room_for_connections()
        ),
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
        ws=BoundedWebSocket,
        ws_per_message_deflate=False,  # sound does not shrink, and small messages could unfold
        ws_ping_timeout=None,  # a client that is not read from for a while cannot answer pings
    )
    mask_logs()
    _Server(config, app.state.house).run()
