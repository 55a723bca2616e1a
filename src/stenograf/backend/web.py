"""What every answer of the backend shares beside `httpanswers`, which is every service's."""

import logging

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stenograf import httpanswers
from stenograf.backend.exhaustion import RAISED, shortage

_log = logging.getLogger(__name__)
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class SecurityHeaders:
    """Tells browsers to run nothing of what is answered, frame nothing and guess no types."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; headers that a route has set itself stay as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [header for header in _SECURITY_HEADERS if header[0] not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def install_errors(app: FastAPI) -> None:
    """Render every error of `app` in one place."""

    async def system(request: Request, error: Exception) -> Response:
        short = shortage(error)
        if short is None:
            raise error
        _log.error("%s", short.message, exc_info=error)
        return httpanswers.render_for(request, short)

    httpanswers.install_errors(app)
    for kind in RAISED:
        app.add_exception_handler(kind, system)
