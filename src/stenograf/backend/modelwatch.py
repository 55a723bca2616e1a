"""What the model service last said of its model, told at once and asked again behind the back."""

import asyncio
import time
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from stenograf.backend.engine import EngineClient
from stenograf.contract.errors import StenografError

_FRESH_S = 2.0
_FIRST_LOOK_S = 1.0
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class ModelLook:
    """One look: `detail` says why the model is not loaded, or is empty."""

    loaded: bool = False
    name: str = _UNKNOWN
    device: str = _UNKNOWN
    compute_type: str = _UNKNOWN
    detail: str = ""


class ModelWatch:
    """Never makes its caller wait for the model service, but for a moment the first time."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._last = ModelLook(detail="The model service has not answered yet.")
        self._looked_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> ModelLook:
        """The last answer; an old one is renewed for the next caller."""
        first = self._task is None
        if self._task is None or (self._task.done() and self._is_old()):
            self._task = asyncio.create_task(self._renew())
        if first:
            await asyncio.wait({self._task}, timeout=_FIRST_LOOK_S)
        return self._last

    def _is_old(self) -> bool:
        return time.monotonic() - self._looked_at > _FRESH_S

    async def _renew(self) -> None:
        self._last = await run_in_threadpool(self._ask)
        self._looked_at = time.monotonic()

    def _ask(self) -> ModelLook:
        detail = ""
        try:
            self._engine.check()
        except StenografError as error:
            detail = error.message
        try:
            row = self._engine.models()[0]
        except StenografError as error:
            return ModelLook(detail=detail or error.message)
        return ModelLook(
            loaded=not detail,
            name=str(row["id"]),
            device=str(row.get("device") or _UNKNOWN).split()[0],  # `cpu` of `cpu (amx)`
            compute_type=str(row.get("dtype") or _UNKNOWN),
            detail=detail,
        )
