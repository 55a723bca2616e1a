"""How much one caller may ask for: requests a minute, requests at once, unfinished uploads.

Counted in the memory of this process, for a bounded number of callers.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from stenograf.backend.access import Caller, refuse
from stenograf.contract.errors import Gone, NotFound, RateLimited

_MAX_CALLERS = 10_000
_BURST_S = 10.0  # what ten quiet seconds earn may be asked for at once
_BUSY_RETRY_S = 1.0
_UPLOADS_RETRY_S = 60.0


@dataclass
class _Usage:
    in_flight: int = 0
    earned_at: float = 0.0
    """When the requests that were let in would all have been earned, at an even pace."""


class Quota:
    """Rate and concurrency of every caller; for one thread, the event loop's. 0 is no limit."""

    def __init__(
        self, per_minute: int, at_once: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace_s = 60.0 / per_minute if per_minute else 0.0
        self._at_once = at_once
        self._clock = clock
        self._usage: dict[str, _Usage] = {}

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """One request of `caller`, from its beginning to its end. Raises RateLimited."""
        now = self._clock()
        usage = self._usage_of(caller, now)
        if self._at_once and usage.in_flight >= self._at_once:
            raise RateLimited(
                f"There are {usage.in_flight} of your requests under way already.",
                hint="Wait for some of them.",
                retry_after_s=_BUSY_RETRY_S,
            )
        earned_at = max(usage.earned_at, now) + self._pace_s
        if earned_at - now > max(_BURST_S, self._pace_s):
            raise RateLimited(
                "You ask more often than this service allows.",
                hint="Ask again later, and more slowly.",
                retry_after_s=max(1.0, earned_at - now - _BURST_S),
            )
        usage.earned_at = earned_at
        usage.in_flight += 1
        try:
            yield
        finally:
            usage.in_flight -= 1

    def _usage_of(self, caller: str, now: float) -> _Usage:
        usage = self._usage.get(caller)
        if usage is None:
            if len(self._usage) >= _MAX_CALLERS:
                self._forget(now)
            usage = self._usage[caller] = _Usage()
        return usage

    def _forget(self, now: float) -> None:
        """Drop callers that owe nothing; if everybody does, those that are not here now."""
        kept = {name: u for name, u in self._usage.items() if u.in_flight or u.earned_at > now}
        if len(kept) >= _MAX_CALLERS:
            kept = {name: u for name, u in kept.items() if u.in_flight}
        self._usage = kept


class Limits:
    """ASGI middleware behind `Access`: answers 429 to a caller that asks for too much."""

    def __init__(self, app: ASGIApp, quota: Quota) -> None:
        self._app = app
        self._quota = quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request if its caller has not asked for too much."""
        caller: Caller | None = scope.get("state", {}).get("caller")
        if scope["type"] == "lifespan" or caller is None or not caller.limited:
            await self._app(scope, receive, send)
            return
        taken = self._quota.taken(caller.id)
        try:
            taken.__enter__()
        except RateLimited as error:
            await refuse(error, scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            taken.__exit__(None, None, None)


@dataclass
class OpenUploads:
    """The unfinished uploads of every limited caller, at most `most` each; 0 is no limit.

    `is_open` tells whether an upload is still unfinished; it may raise NotFound or Gone.
    """

    most: int
    is_open: Callable[[str], bool]
    _of: dict[str, set[str]] = field(default_factory=dict)

    def check(self, caller: Caller | None) -> None:
        """Raise RateLimited if the caller has as many as it may have; may read the disk."""
        if caller is None or not caller.limited or not self.most:
            return
        ids = self._of.get(caller.id, set())
        if len(ids) < self.most:
            return
        ids.difference_update([upload_id for upload_id in list(ids) if not self._still(upload_id)])
        if len(ids) >= self.most:
            raise RateLimited(
                f"There are {len(ids)} unfinished uploads of yours.",
                hint="Finish or remove some of them.",
                retry_after_s=_UPLOADS_RETRY_S,
            )

    def add(self, caller: Caller | None, upload_id: str) -> None:
        """A caller has begun an upload."""
        if caller is None or not caller.limited or not self.most:
            return
        if caller.id not in self._of and len(self._of) >= _MAX_CALLERS:
            self._of.pop(next(iter(self._of)))
        self._of.setdefault(caller.id, set()).add(upload_id)

    def _still(self, upload_id: str) -> bool:
        try:
            return self.is_open(upload_id)
        except (NotFound, Gone):
            return False
