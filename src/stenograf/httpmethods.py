"""Which methods a path takes: HEAD wherever there is GET, and all of them in `Allow`."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ENDLESS = "/events"  # a stream without its body would only hold a connection open


class HeadAsGet:
    """Answers HEAD as GET would, where no route does so itself; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request."""
        if (
            scope["type"] == "http"
            and scope["method"] == "HEAD"
            and not _takes(scope["app"].routes, scope, "HEAD")
            and not scope["path"].endswith(_ENDLESS)
        ):
            scope = {**scope, "method": "GET"}  # a copy: the server must still know that it is HEAD
        await self._app(scope, receive, send)


def allowed(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """What the header `Allow` lists: every method that a route takes at the path of `scope`."""
    known = list(routes)
    found = {method for method in _METHODS if _takes(known, scope, method)}
    if "GET" in found and not scope["path"].endswith(_ENDLESS):
        found.add("HEAD")
    return ", ".join(method for method in _METHODS if method in found)


def _takes(routes: Iterable[BaseRoute], scope: Scope, method: str) -> bool:
    asked = {**scope, "method": method}
    return any(route.matches(asked)[0] is Match.FULL for route in routes)
