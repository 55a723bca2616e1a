"""What every answer of the service shares: request id, bounded bodies, one error handler."""

import hmac
import logging
import re
import uuid
from hashlib import sha256
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stenograf.contract.errors import (
    BadOptions,
    StenografError,
    TooLarge,
    Unauthorized,
    error_json,
)

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Gives every request an id, the client's own if it is a sane one, and says it back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (b"x-request-id", request_id.encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await self._app(scope, receive, send_with_id)


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
            digest = sha256(given.strip().encode("latin-1")).digest()
            if not hmac.compare_digest(digest, self._digest):
                error = Unauthorized(
                    "A key is needed here, and this is not it.",
                    hint="Send LLM_API_KEY as `Authorization: Bearer KEY`.",
                )
                challenge = {"WWW-Authenticate": 'Bearer realm="stenograf"'}
                answer = _render(Request(scope), error, headers=challenge)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Ends a request whose body grows beyond `limit_bytes`, announced or not."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, counting."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise too_large(self._limit_bytes)
            return message

        await self._app(scope, counted, send)


def too_large(limit_bytes: int) -> TooLarge:
    """The error of a body beyond the limit."""
    return TooLarge(
        f"The body is larger than {limit_bytes} bytes.",
        hint="Send long recordings to the backend (port 8009).",
        param="file",
    )


def install_errors(app: FastAPI) -> None:
    """Render every error of `app` in one place."""

    async def ours(request: Request, exc: Exception) -> JSONResponse:
        return _render(request, exc if isinstance(exc, StenografError) else _internal())

    async def invalid(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        return _render(request, invalid_input(list(exc.errors())))

    async def plain(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        error = StenografError(str(exc.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "invalid_request")
        return _render(request, error, status=exc.status_code, code=code, headers=exc.headers)

    app.add_exception_handler(StenografError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, ours)


def invalid_input(errors: list[Any]) -> BadOptions:
    """A validation failure in one sentence, naming the field; the value is not repeated."""
    first = errors[0] if errors else {"loc": (), "msg": "invalid"}
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    return BadOptions(f"{where or 'body'}: {first['msg']}", param=where or None)


def _internal() -> StenografError:
    return StenografError("Something went wrong inside; the service's log has the details.")


def _render(
    request: Request,
    error: StenografError,
    *,
    status: int | None = None,
    code: str | None = None,
    headers: Any = None,
) -> JSONResponse:
    status = status or error.status
    request_id = getattr(request.state, "request_id", None)
    body = error_json(error, request_id)
    if code:
        body["error"]["code"] = code
    out = {**error.headers(), **(headers or {})}
    if request.url.path.startswith("/v1/"):
        body = {"error": _openai(body["error"], status)}
        out["x-should-retry"] = "false" if error.retry_after_s is None else "true"
    return JSONResponse(body, status_code=status, headers=out)


def _openai(error: dict[str, Any], status: int) -> dict[str, Any]:
    """The same fields in OpenAI's shape; `hint` and `request_id` stay beside them."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    if status == 429:
        kind = "rate_limit_error"
    return {"type": kind, "param": None, **error}
