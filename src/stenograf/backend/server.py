"""Runs the backend as a process."""

import logging
import socket

import uvicorn

from stenograf.backend.app import House, create_app
from stenograf.httpserver import deadline_protocol
from stenograf.settings import BackendSettings

_GRACE_S = 3  # what is cut off after it resumes: uploads at their offset, jobs at their window


class _Server(uvicorn.Server):
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
    settings = BackendSettings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.backend_host,
        port=settings.backend_port,
        log_level=settings.log_level,
        http=deadline_protocol(idle_timeout_s=settings.request_timeout_s),
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
    )
    _Server(config, app.state.house).run()
