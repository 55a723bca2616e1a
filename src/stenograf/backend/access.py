"""Who may come in: by API key, by a session made with one, or, while there are no keys, anybody.

How keys and sessions are sent, `credentials` knows.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from stenograf.backend.apikeys import KeyRing
from stenograf.backend.credentials import presented_key, session_token
from stenograf.backend.origins import Origins
from stenograf.backend.session import Sessions
from stenograf.contract.errors import Forbidden, StenografError, Unauthorized
from stenograf.exposure import host_name, is_local_name
from stenograf.httpanswers import render

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC = frozenset({"/health", "/ready", "/docs", "/openapi.json"})


@dataclass(frozen=True)
class Caller:
    """Who a request comes from: a key's id, or the address if no key was asked for."""

    id: str
    limited: bool
    """Whether rate and concurrency limits count for it."""
    key_id: str | None = None


def caller_of(connection: HTTPConnection) -> Caller | None:
    """The caller of a request that `Access` let in; None on a public route."""
    return cast(Caller | None, connection.scope.get("state", {}).get("caller"))


class Gate:
    """Decides for one request who its caller is.

    `local` says that only this machine reaches the service. Without keys it is open then, and with
    `allow_no_key`; in any other case a request without a good key is refused, even when no key
    exists.
    """

    def __init__(
        self,
        keys: KeyRing,
        sessions: Sessions,
        origins: Origins,
        *,
        local: bool,
        allow_no_key: bool,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._origins = origins
        self._local = local
        self._open = local or allow_no_key

    @property
    def asks_for_key(self) -> bool:
        """Whether a request needs a key now."""
        return self._keys.in_use or not self._open

    def session_for(self, caller: Caller) -> str | None:
        """A session token for the browser of this caller; None where no key is asked for."""
        return self._sessions.issue(caller.key_id) if caller.key_id else None

    def admit(self, scope: Scope) -> Caller:
        """The caller. Raises Unauthorized, Forbidden."""
        headers = Headers(scope=scope)
        if not self.asks_for_key:
            self._check_foreign_page(scope, headers)
            self._check_name(headers)
            return Caller(*_address(scope, self._local))
        presented = presented_key(headers)
        if presented is not None:
            key_id = self._keys.find(presented)
        else:
            token = session_token(headers)
            key_id = self._sessions.key_id(token) if token else None
            if key_id is not None and not self._keys.knows(key_id):
                key_id = None
            if key_id is not None:
                self._check_foreign_page(scope, headers)
        if key_id is None:
            raise Unauthorized(
                "This key is not valid." if presented is not None else "A key is needed here.",
                hint="Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
            )
        return Caller(f"key {key_id}", limited=True, key_id=key_id)

    def _check_foreign_page(self, scope: Scope, headers: Headers) -> None:
        """A browser sends some requests for any page: those must not act without a key."""
        origin = headers.get("origin")
        if origin is None or scope.get("method") in _SAFE_METHODS:
            return
        if not self._origins.allows(origin, headers.get("host", "")):
            raise Forbidden(
                "A page of another origin may not do this.",
                hint="Name the page's origin in CORS_ORIGINS, or send an API key.",
            )

    def _check_name(self, headers: Headers) -> None:
        """A page whose name was made to point here would count as our own."""
        name = host_name(headers.get("host", ""))
        if self._local and not (is_local_name(name) or self._origins.names(name)):
            raise Forbidden(
                "Without API keys this service answers to this machine's own names only.",
                hint=f"Make a key, or name https://{name[:100]} in CORS_ORIGINS.",
            )


class Access:
    """ASGI middleware: sets `caller` in the request's state, or answers 401 or 403."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request if it may come in."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        try:
            state["caller"] = self._gate.admit(scope)
        except StenografError as error:
            if not _is_public(scope):
                await refuse(error, scope, receive, send)
                return
            state["caller"] = None
        await self._app(scope, receive, send)


async def refuse(error: StenografError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the handshake of a websocket, with an error."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        await send({"type": "websocket.close", "code": 1008, "reason": error.message})
        return
    extra: Mapping[str, str] = {}
    if error.status == 401:
        extra = {"WWW-Authenticate": 'Bearer realm="stenograf"'}
    elif error.status == 429:
        extra = {"x-should-retry": "true"}
    request_id = scope.get("state", {}).get("request_id")
    answer = render(error, request_id=request_id, path=scope["path"], headers=extra)
    await answer(scope, receive, send)


def _is_public(scope: Scope) -> bool:
    path = scope["path"]
    if path == "/v1/session":
        return scope.get("method") in ("GET", "DELETE")
    return path in _PUBLIC


def _address(scope: Scope, local: bool) -> tuple[str, bool]:
    """The caller's address, for IPv6 its network of 64 bits, and whether limits count for it."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a local socket
        return "local", False
    at_home = address.is_loopback or (local and address.is_private)
    if address.version == 6:
        address = ipaddress.ip_network((address, 64), strict=False).network_address
    return str(address), not at_home
