"""One live conversation: a client's events in, turns and their text out, in order."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from stenograf.backend.realtime import events
from stenograf.backend.realtime.config import SessionConfig
from stenograf.backend.realtime.ear import Ear, Happening, SpeechStarted, SpeechStopped, Utterance
from stenograf.backend.realtime.faults import UnknownEvent
from stenograf.backend.realtime.line import Ended, Line
from stenograf.backend.realtime.scribe import Scribe
from stenograf.contract.errors import BadRequest, NetworkTimeout, StenografError
from stenograf.contract.options import TranscribeOptions

_SEND_TIMEOUT_S = 30.0
_SESSION_S = 24 * 3600
_GOING_AWAY = 1001


@dataclass(frozen=True)
class Limits:
    """What one conversation may cost."""

    idle_timeout_s: float
    max_samples: int


@dataclass(frozen=True)
class _Order:
    """An utterance and how it is to be recognized."""

    utterance: Utterance
    options: TranscribeOptions
    model: str


ChooseModel = Callable[[TranscribeOptions], Awaitable[tuple[TranscribeOptions, str]]]


class Conversation:
    """Speaks the Realtime protocol over `line` until one side has enough."""

    def __init__(
        self,
        line: Line,
        *,
        config: SessionConfig,
        ear: Ear,
        scribe: Scribe,
        choose_model: ChooseModel,
        threads: Executor,
        limits: Limits,
        old_dialect: bool,
    ) -> None:
        self._line, self._ear, self._scribe = line, ear, scribe
        self._config, self._choose_model = config, choose_model
        self._threads, self._limits, self._old = threads, limits, old_dialect
        self._id = f"sess_{uuid.uuid4().hex[:24]}"
        self._expires_at = int(time.time()) + _SESSION_S
        self._sending = asyncio.Lock()
        self._orders: asyncio.Queue[_Order] = asyncio.Queue()
        self._waiting_samples = 0
        self._room = asyncio.Event()
        self._room.set()
        self._last_item: str | None = None
        self._options, self._model = TranscribeOptions(), ""

    async def run(self) -> None:
        """Converse until one side ends it. Raises Ended."""
        ended = Ended()
        try:
            async with asyncio.TaskGroup() as group:
                await self._adopt(self._config)
                await self._send(self._session_event("created"))
                group.create_task(self._write_orders())
                await self._listen()
        except* Ended as group_ended:
            ended = next(error for error in group_ended.exceptions if isinstance(error, Ended))
        raise ended

    async def _listen(self) -> None:
        while True:
            # A client far ahead of the recognizer is not read from: its sends wait.
            await self._room.wait()
            message = await self._next_message()
            if time.time() > self._expires_at:
                raise Ended(_GOING_AWAY, "The session has expired.")
            event: dict[str, Any] = {}
            try:
                event = events.read(message)
                await self._handle(event)
            except StenografError as problem:
                await self._send(events.error(problem, event.get("event_id")))

    async def _next_message(self) -> str | bytes:
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    return await self._line.receive()
            except TimeoutError:
                if not self._waiting_samples:
                    await self._end_idle()

    async def _end_idle(self) -> None:
        problem = NetworkTimeout(f"Nothing was sent for {self._limits.idle_timeout_s:g} s.")
        await self._send(events.error(problem))
        raise Ended(_GOING_AWAY, problem.message)

    async def _handle(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "input_audio_buffer.append":
                await self._hear(self._ear.feed, events.sound_of(event))
            case "input_audio_buffer.commit":
                await self._hear(self._ear.commit)
            case "input_audio_buffer.clear":
                await self._in_thread(self._ear.clear)
                await self._send(events.event("input_audio_buffer.cleared"))
            case "session.update":
                await self._update(event.get("session"))
            case "transcription_session.update":
                self._old = True
                await self._update(event.get("session"))
            case str(kind):
                raise UnknownEvent(
                    f"There is no event {kind[:80]!r} in a transcription session.", param="type"
                )
            case _:
                raise BadRequest("type: a string is required", param="type")

    async def _update(self, session: object) -> None:
        await self._adopt(self._config.updated(session))
        await self._send(self._session_event("updated"))

    async def _adopt(self, config: SessionConfig) -> None:
        self._options, self._model = await self._choose_model(config.options())
        self._config = config
        await self._hear(self._ear.configure, config.format, config.turn_detection)

    def _session_event(self, what: str) -> dict[str, Any]:
        identity = {"id": self._id, "object": "realtime.transcription_session"}
        if self._old:
            session = identity | self._config.old_shape() | {"expires_at": self._expires_at}
            return events.event(f"transcription_session.{what}", session=session)
        session = identity | self._config.shape() | {"expires_at": self._expires_at}
        return events.event(f"session.{what}", session=session)

    async def _hear(self, listen: Callable[..., list[Happening]], *arguments: Any) -> None:
        for happening in await self._in_thread(listen, *arguments):
            await self._tell(happening)

    async def _tell(self, happening: Happening) -> None:
        match happening:
            case SpeechStarted(item_id, at):
                await self._send(events.speech_started(item_id, at))
            case SpeechStopped(item_id, at):
                await self._send(events.speech_stopped(item_id, at))
            case Utterance(item_id):
                for event in events.committed(item_id, self._last_item, old=self._old):
                    await self._send(event)
                self._last_item = item_id
                self._order(happening)

    def _order(self, utterance: Utterance) -> None:
        self._waiting_samples += len(utterance.sound)
        if self._waiting_samples > self._limits.max_samples:
            self._room.clear()
        self._orders.put_nowait(_Order(utterance, self._options, self._model))

    async def _write_orders(self) -> None:
        while True:
            order = await self._orders.get()
            await self._write(order)
            self._waiting_samples -= len(order.utterance.sound)
            if self._waiting_samples <= self._limits.max_samples:
                self._room.set()

    async def _write(self, order: _Order) -> None:
        item_id, text = order.utterance.item_id, ""
        try:
            async for whole in self._scribe.write(order.utterance, order.options, order.model):
                await self._send(events.delta(item_id, whole[len(text) :]))
                text = whole
        except StenografError as problem:
            await self._send(events.failed(item_id, problem))
        else:
            await self._send(events.completed(item_id, text, len(order.utterance.sound)))

    async def _send(self, event: Mapping[str, Any]) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(_SEND_TIMEOUT_S):
                    await self._line.send(event)
            except TimeoutError:
                raise Ended(_GOING_AWAY, "What was sent was not read.") from None

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
