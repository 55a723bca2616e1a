"""What every answer shares: a request id, bounded bodies, and one renderer of errors."""

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stenograf.contract.errors import (
    BadOptions,
    StenografError,
    TooLarge,
    Transient,
    Unavailable,
    error_json,
)

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPENAI_PATHS = ("/v1/audio/", "/v1/models")
_HTTP_CODES: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


class RequestId:
    """Gives every request an id, the client's own if it is a sane one, and says it back.

    Also the last net: what no handler caught becomes a plain 500 in the house's shape.
    """

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
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                header = (b"x-request-id", request_id.encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _log.info("%s %s: the client left", scope["method"], scope["path"])
        except Exception:
            _log.exception("%s %s failed, request %s", scope["method"], scope["path"], request_id)
            if started:
                raise
            answer = render(internal_error(), request_id=request_id, path=scope["path"])
            await answer(scope, receive, send_with_id)


_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_RENDERED_PATHS = ("/docs", "/redoc")  # their scripts come from elsewhere


class SecurityHeaders:
    """Tells browsers to run nothing of what is answered, frame nothing and guess no types."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; headers that a route has set itself stay as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = list(_SECURITY_HEADERS)
        if not scope["path"].startswith(_RENDERED_PATHS):
            wanted.append(_CONTENT_POLICY)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [header for header in wanted if header[0] not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies beyond a limit, announced or not; paths in `limits` have their own.

    `limits` maps path prefixes to bytes, None for routes that bound what they read themselves.
    """

    def __init__(self, app: ASGIApp, default: int, limits: Mapping[str, int | None]) -> None:
        self._app = app
        self._default = default
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, counting its bytes."""
        limit = self._limit(scope["path"]) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            request_id = scope.get("state", {}).get("request_id")
            answer = render(_too_large(limit), request_id=request_id, path=scope["path"])
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)

    def _limit(self, path: str) -> int | None:
        return next(
            (limit for prefix, limit in self._limits.items() if path.startswith(prefix)),
            self._default,
        )


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit} bytes.",
        hint="Upload recordings in chunks through /files.",
    )


def install_errors(app: FastAPI) -> None:
    """Render every error of `app` in one place."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, StenografError)
        return _answer(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _answer(request, invalid_input(error.errors()))

    async def database(request: Request, error: Exception) -> Response:
        _log.error("database error", exc_info=error)
        return _answer(request, Unavailable("The database does not answer.", retry_after_s=5))

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _HTTP_CODES.get(error.status_code, "invalid_request")
        return _answer(
            request,
            StenografError(str(error.detail)),
            status=error.status_code,
            code=code,
            headers=error.headers,
        )

    app.add_exception_handler(StenografError, ours)
    app.add_exception_handler(OperationalError, database)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def invalid_input(errors: Sequence[Any]) -> BadOptions:
    """A validation failure as one sentence that names the field; the value is not repeated."""
    first = errors[0] if errors else {"loc": (), "msg": "is not valid"}
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))[:100]
    return BadOptions(f"{place or 'body'}: {first['msg']}", param=place or None)


def internal_error() -> StenografError:
    """What a user is told of an error of ours."""
    return StenografError("Something went wrong inside; the log of the backend has the details.")


def _answer(
    request: Request,
    error: StenografError,
    *,
    status: int | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return render(
        error,
        request_id=getattr(request.state, "request_id", None),
        path=request.url.path,
        status=status,
        code=code,
        headers=headers,
    )


def render(
    error: StenografError,
    *,
    request_id: str | None,
    path: str,
    status: int | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as the dialect of `path` shows it."""
    status = status or error.status
    body = error_json(error, request_id)
    if code:
        body["error"]["code"] = code
    out = {**error.headers(), **(headers or {})}
    if path.startswith(_OPENAI_PATHS):
        body = {"error": openai_shape(body["error"], status)}
        out["x-should-retry"] = "true" if isinstance(error, Transient) else "false"
    return JSONResponse(body, status_code=status, headers=out)


def openai_shape(fields: Mapping[str, Any], status: int) -> dict[str, Any]:
    """The same fields in OpenAI's shape: `type` and `param` are always there."""
    kind = "rate_limit_error" if status == 429 else "server_error"
    if status < 500 and status != 429:
        kind = "invalid_request_error"
    return {"type": kind, "param": None, **fields}
