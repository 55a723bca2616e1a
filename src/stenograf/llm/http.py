"""Who may use the model service. What every answer shares is in `stenograf.httpanswers`."""

import hmac
from hashlib import sha256

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from stenograf.contract.errors import Unauthorized
from stenograf.httpanswers import render_for

_OPEN_PATHS = ("/health", "/ready")


class KeyCheck:
    """Lets in who sends the key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._digest = sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            headers = Headers(scope=scope)
            scheme, _, token = headers.get("authorization", "").partition(" ")
            given = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
            digest = sha256(given.encode("latin-1").strip(b" \t")).digest()
            if not hmac.compare_digest(digest, self._digest):
                error = Unauthorized(
                    "A key is needed here, and this is not it.",
                    hint="Send LLM_API_KEY as `Authorization: Bearer KEY`.",
                )
                challenge = {"WWW-Authenticate": 'Bearer realm="stenograf"'}
                answer = render_for(Request(scope), error, headers=challenge)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
