"""Errors as the clients of another service's API read them."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from stenograf.contract.errors import (
    Overloaded,
    StenografError,
    Transient,
    error_json,
)

Shape = Callable[[StenografError, str | None], dict[str, Any]]
"""An error and the request's id as the body of an answer."""

_PERMANENT = frozenset({400, 401, 403, 404, 409, 410, 413})
"""Statuses on which every client known to us gives up, as it should."""


def sentence(error: StenografError) -> str:
    """What went wrong and what to do, in one line."""
    return f"{error.message} {error.hint or ''}".strip()


def status_of(error: StenografError) -> int:
    """The status these clients act on rightly.

    Speakr sends a file again, three times, on 415, 422 and the like, which will not help, and
    gives up on 429, where it would: the first become 400, the second 503.
    """
    if isinstance(error, Overloaded):
        return 503
    if isinstance(error, Transient) or error.status >= 500 or error.status in _PERMANENT:
        return error.status
    return 400


def with_detail(error: StenografError, request_id: str | None) -> dict[str, Any]:
    """FastAPI's `detail`, which clients of the Python services show, beside our own shape."""
    return {"detail": sentence(error), **error_json(error, request_id)}


def late(shape: Shape, request: Request) -> Callable[[StenografError], dict[str, Any]]:
    """`shape` for an error that happens after the answer has begun."""
    return lambda error: shape(error, _request_id(request))


def route_class(shape: Shape) -> type[APIRoute]:
    """Routes whose errors have the given shape and a status of `status_of`."""

    class DialectRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                try:
                    return await handle(request)
                except StenografError as error:
                    body = shape(error, _request_id(request))
                    return JSONResponse(body, status_of(error), error.headers())

            return handler

    return DialectRoute


def _request_id(request: Request) -> str | None:
    request_id: str | None = getattr(request.state, "request_id", None)
    return request_id
