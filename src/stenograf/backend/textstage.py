"""The stage of a job in which a language model works on its transcript."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from stenograf.backend import textprompts
from stenograf.backend.exhaustion import shortage
from stenograf.backend.hub import wait
from stenograf.backend.ledger import LostLease
from stenograf.backend.textledger import TextClaim, TextLedger
from stenograf.backend.textprocess import TextProcessor
from stenograf.contract.errors import StenografError
from stenograf.contract.text import TextTask
from stenograf.contract.transcript import Transcript

_log = logging.getLogger(__name__)
_POLL_S = 1.0
_KEEP_EVERY_S = 0.25


@dataclass
class _SoFar:
    """What a running task has, and whether the table has it too."""

    text: str = ""
    done: int = 0
    total: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def more(self, text: str) -> None:
        self.text += text
        self.changed.set()

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.changed.set()


class TextStage:
    """Does what the table says is due, at most `at_once` texts at a time, on one event loop.

    `publish` tells watchers that a job changed.
    """

    def __init__(
        self,
        ledger: TextLedger,
        processor: TextProcessor,
        publish: Callable[[str], None],
        *,
        at_once: int,
        renew_every_s: float,
    ) -> None:
        self._ledger = ledger
        self._processor = processor
        self._publish = publish
        self._at_once = at_once
        self._renew_every_s = renew_every_s
        self._running: dict[asyncio.Task[None], TextClaim] = {}
        self._checks: set[asyncio.Future[None]] = set()
        self._poked: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def running(self, *, alone: bool) -> AsyncIterator[None]:
        """Work while the block runs; what is not done then goes back to the table.

        `alone`: no other process works on the database, so what is marked as running is not.
        """
        self._loop, self._poked = asyncio.get_running_loop(), asyncio.Event()
        if alone:
            await run_in_threadpool(self._ledger.take_back, all_of_others=True)
        chores = [asyncio.ensure_future(self._work()), asyncio.ensure_future(self._keep_leases())]
        try:
            yield
        finally:
            await _end([*chores, *self._checks, *self._running])
            self._loop = self._poked = None
            await run_in_threadpool(self._ledger.release_own)

    def poke(self) -> None:
        """Something may be due; any thread may say so."""
        loop, poked = self._loop, self._poked
        if loop is not None and poked is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it closes just now
                loop.call_soon_threadsafe(poked.set)

    def stop(self, job_id: str) -> None:
        """End the work on a job's texts whose rows are withdrawn; any thread may say so."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop, job_id)

    def _stop(self, job_id: str) -> None:
        for claim in self._running.values():
            if claim.job_id == job_id:
                check = asyncio.ensure_future(self._check(claim))
                self._checks.add(check)
                check.add_done_callback(self._checks.discard)

    async def _work(self) -> None:
        assert self._poked is not None
        while True:
            try:
                while len(self._running) < self._at_once:
                    claim = await run_in_threadpool(self._ledger.claim_next)
                    if claim is None:
                        break
                    self._begin(claim)
            except Exception:
                _log.exception("text work could not go on; it tries again")
            await wait(self._poked, _POLL_S)

    def _begin(self, claim: TextClaim) -> None:
        task = asyncio.ensure_future(self._do(claim))
        self._running[task] = claim
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        claim = self._running.pop(task)
        self._publish(claim.topic)
        if self._poked is not None:
            self._poked.set()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._renew_every_s)
            try:
                await run_in_threadpool(self._ledger.take_back)
                for claim in list(self._running.values()):
                    await self._check(claim)
            except Exception:
                _log.exception("renewing the leases of text work failed; it is tried again")

    async def _check(self, claim: TextClaim) -> None:
        if await run_in_threadpool(self._ledger.renew, claim):
            return
        for task, held in list(self._running.items()):
            if held is claim:
                task.cancel()

    async def _do(self, claim: TextClaim) -> None:
        self._publish(claim.topic)
        try:
            await self._process(claim)
        except LostLease:
            _log.info("text work %s was taken away", claim.id)
        except StenografError as error:
            await self._fail(claim, error)
        except Exception as error:
            _log.exception("text work %s failed", claim.id)
            await self._fail(claim, shortage(error) or _internal())

    async def _process(self, claim: TextClaim) -> None:
        asked = claim.request
        transcript = await run_in_threadpool(claim.transcript)
        passages = passages_of(transcript, asked.task)
        model = await self._processor.model()
        key = _key(passages, asked.task, asked.instruction, transcript.language, model)
        if await run_in_threadpool(self._ledger.known, claim, key):
            return
        so_far = _SoFar()
        keeper = asyncio.ensure_future(self._keep(claim, so_far))
        try:
            result = await self._processor.process(
                passages,
                asked.task,
                asked.instruction,
                transcript.language,
                on_text=so_far.more,
                on_progress=so_far.count,
            )
        finally:
            await _end([keeper])
        await run_in_threadpool(self._ledger.finish, claim, result, so_far.done)
        _log.info("text work %s completed, %d characters", claim.id, len(result.text))

    async def _keep(self, claim: TextClaim, so_far: _SoFar) -> None:
        while True:
            await so_far.changed.wait()
            so_far.changed.clear()
            with suppress(LostLease):  # the next renewal ends the work
                await run_in_threadpool(
                    self._ledger.progress, claim, so_far.text, so_far.done, so_far.total
                )
            self._publish(claim.topic)
            await asyncio.sleep(_KEEP_EVERY_S)

    async def _fail(self, claim: TextClaim, error: StenografError) -> None:
        _log.warning("text work %s: %s: %s", claim.id, error.code, error.message)
        with suppress(LostLease):
            await run_in_threadpool(self._ledger.fail, claim, error)


def passages_of(transcript: Transcript, task: TextTask) -> list[str]:
    """Segments as the language model reads them; who speaks is said where it is not copied back."""
    if task is TextTask.PUNCTUATION:
        return [segment.text for segment in transcript.segments]
    passages, speaker = [], None
    for segment in transcript.segments:
        named = segment.speaker and segment.speaker != speaker
        passages.append(f"{segment.speaker}: {segment.text.strip()}" if named else segment.text)
        speaker = segment.speaker
    return passages


def _key(passages: list[str], task: TextTask, instruction: str, language: str, model: str) -> str:
    prompt = textprompts.whole(task, instruction, language, "")
    question = [passages, task.value, prompt.system, prompt.user, model]
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()


async def _end(tasks: "list[asyncio.Future[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _internal() -> StenografError:
    return StenografError(
        "Something went wrong inside the service.", hint="The log of the backend says what."
    )
