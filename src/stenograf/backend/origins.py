"""Which pages of other origins a browser may let in: the page of this house, and who is listed."""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from stenograf.contract.errors import StenografError
from stenograf.exposure import is_loopback

_PORTS = {"http": 80, "https": 443}


class OpenToEveryPage(StenografError):
    """The allow-list of origins holds a star."""


class Origins:
    """The allow-list, and the page on `page_port` of whatever host name the backend was asked by.

    A page that the visitor's own machine serves on that port counts as well.

    Raises OpenToEveryPage for `*`: with it any web page somebody visits could use this service.
    """

    def __init__(self, listed: Iterable[str], page_port: int) -> None:
        self.listed = frozenset(filter(None, (origin.strip().rstrip("/") for origin in listed)))
        if "*" in self.listed:
            raise OpenToEveryPage(
                "CORS_ORIGINS=* would let every web page that somebody opens use the backend.",
                hint="Name the pages: CORS_ORIGINS=http://host:port,http://other:port.",
            )
        self._page_port = page_port
        self._names = frozenset(_split(origin).hostname or "" for origin in self.listed)

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may talk to the backend that it asked as `host`."""
        if origin in self.listed:
            return True
        page, asked = _split(origin), _split(f"//{host}")
        if page.hostname is None or page.scheme not in _PORTS or asked.hostname is None:
            return False
        port = _port(page) or _PORTS[page.scheme]
        if page.hostname != asked.hostname:
            return is_loopback(page.hostname) and port == self._page_port
        # under the same name and port it is our own origin, whichever scheme a proxy speaks
        return port in (self._page_port, _port(asked) or _PORTS[page.scheme])

    def names(self, hostname: str) -> bool:
        """Whether a listed origin has this host name."""
        return hostname in self._names


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket that opens no address
        return urlsplit("")


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        return None


_asked_as: ContextVar[str] = ContextVar("asked_as", default="")


class PageCors(CORSMiddleware):
    """CORS with credentials for the origins that `Origins` allows."""

    def __init__(
        self,
        app: ASGIApp,
        origins: Origins,
        *,
        methods: Sequence[str],
        headers: Sequence[str],
        exposed: Sequence[str],
    ) -> None:
        super().__init__(
            app,
            allow_methods=methods,
            allow_headers=headers,
            expose_headers=exposed,
            allow_credentials=True,
            max_age=3600,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, remembering the name the backend was asked by."""
        if scope["type"] == "http":
            _asked_as.set(Headers(scope=scope).get("host", ""))
        await super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether the browser may show our answer to a page of `origin`."""
        return self._origins.allows(origin, _asked_as.get())
