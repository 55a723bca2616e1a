"""What every answer of our services shares: a request id, bounded bodies, one shape of errors.

Routes of OpenAI's API have OpenAI's shape of errors and its statuses; all others have our own.
"""

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    ModelNotReady,
    StenografError,
    TooLarge,
    Transient,
    error_json,
)
from stenograf.httpmethods import allowed
from stenograf.patience import BrokenOff

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPENAI_PATHS = ("/v1/audio/", "/v1/models")
_HTTP_SENTENCES: Mapping[int, str] = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
}
_HTTP_CODES: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


class RequestId:
    """Gives every request an id, the client's own if it is a sane one, and says it back.

    Also the last net: what no handler caught becomes a plain 500.
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
        except BrokenOff as error:
            _log.warning(
                "%s %s broken off, request %s: %s",
                *(scope["method"], scope["path"], request_id, error),
            )
            # The server closes a connection whose answer has not ended.
        except Exception:
            _log.exception("%s %s failed, request %s", scope["method"], scope["path"], request_id)
            if started:
                raise
            answer = render(internal_error(), request_id=request_id, path=scope["path"])
            await answer(scope, receive, send_with_id)


class BodyLimit:
    """Refuses bodies beyond a limit, announced or not; paths in `limits` have their own.

    `limits` maps path prefixes to bytes, None for routes that bound what they read themselves.
    `hint` says what to do with a larger body.
    """

    def __init__(
        self,
        app: ASGIApp,
        default: int,
        limits: Mapping[str, int | None] | None = None,
        hint: str = "Upload recordings in chunks through /files.",
    ) -> None:
        self._app = app
        self._default = default
        self._limits = limits or {}
        self._hint = hint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, counting its bytes."""
        limit = self._limit(scope["path"]) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            request_id = scope.get("state", {}).get("request_id")
            answer = render(self._too_large(limit), request_id=request_id, path=scope["path"])
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise self._too_large(limit)
            return message

        await self._app(scope, counted, send)

    def _limit(self, path: str) -> int | None:
        return next(
            (limit for prefix, limit in self._limits.items() if path.startswith(prefix)),
            self._default,
        )

    def _too_large(self, limit: int) -> TooLarge:
        return TooLarge(f"The body is larger than {limit} bytes.", hint=self._hint)


def install_errors(app: FastAPI) -> None:
    """Render every error of `app` in one place."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, StenografError)
        return render_for(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return render_for(request, invalid_input(error.errors()))

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = allowed(app.routes, request.scope)
        return render_for(
            request,
            StenografError(_sentence(error)),
            status=error.status_code,
            code=_HTTP_CODES.get(error.status_code, "invalid_request"),
            headers=headers,
        )

    app.add_exception_handler(StenografError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def _sentence(error: HTTPException) -> str:
    return _HTTP_SENTENCES.get(error.status_code) or str(error.detail)


def invalid_input(errors: Sequence[Any]) -> BadOptions:
    """A validation failure as one sentence that names the field; the value is not repeated."""
    first: Mapping[str, Any] = errors[0] if errors else {"loc": (), "msg": "is not valid"}
    if first.get("type") == "json_invalid":
        return BadOptions("The body is not JSON.", hint=str(first.get("ctx", {}).get("error", "")))
    if first["loc"] == ("body",) and str(first.get("type", "")).endswith("_type"):
        return BadOptions(
            "The body is not a JSON object.", hint="Send one with Content-Type: application/json."
        )
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))[:100]
    return BadOptions(f"{place or 'body'}: {first['msg']}", param=place or None)


def internal_error() -> StenografError:
    """What a user is told of an error of ours."""
    return StenografError("Something went wrong inside; the log of the service has the details.")


def render_for(
    request: Request,
    error: StenografError,
    *,
    status: int | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`render` for the request that failed."""
    return render(
        error,
        request_id=request_id_of(request),
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
    of_openai = path.startswith(_OPENAI_PATHS)
    if status is None:
        status = _openai_status(error) if of_openai else error.status
    body = error_json(error, request_id)
    if code:
        body["error"]["code"] = code
    out = {**error.headers(), **(headers or {})}
    if of_openai:
        body = {"error": openai_shape(body["error"], status)}
        out["x-should-retry"] = "true" if _may_help_again(error) else "false"
    return JSONResponse(body, status_code=status, headers=out)


def openai_error(error: StenografError, request_id: str | None) -> dict[str, Any]:
    """The fields of `error` in the body of an answer that had begun."""
    return openai_shape(error_json(error, request_id)["error"], _openai_status(error))


def openai_shape(fields: Mapping[str, Any], status: int) -> dict[str, Any]:
    """The same fields in OpenAI's shape: `type` and `param` are always there."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"type": "rate_limit_error" if status == 429 else kind, "param": None, **fields}


def request_id_of(request: Request) -> str | None:
    """The id that `RequestId` gave."""
    request_id: str | None = getattr(request.state, "request_id", None)
    return request_id


def _openai_status(error: StenografError) -> int:
    """OpenAI answers 400 to every request that is wrong in itself, however."""
    return 400 if isinstance(error, BadRequest) and error.status in (415, 422) else error.status


def _may_help_again(error: StenografError) -> bool:
    """Whether the same request may succeed: not while a model could not be loaded."""
    stuck = isinstance(error, ModelNotReady) and error.retry_after_s is None
    return isinstance(error, Transient) and not stuck
