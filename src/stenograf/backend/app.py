"""The composition root: `create_app(settings)` builds the backend and its life."""

import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

import stenograf
from stenograf.audio.decode import DecodeLimits
from stenograf.audio.vad import VoiceDetector
from stenograf.backend.access import Access, Gate
from stenograf.backend.api import asr, detect, legacy, openai, ops, seeds, whispercpp
from stenograf.backend.api import jobs as jobs_api
from stenograf.backend.api import realtime as realtime_api
from stenograf.backend.api import session as session_api
from stenograf.backend.api import text as text_api
from stenograf.backend.api import uploads as uploads_api
from stenograf.backend.apikeys import ApiKeyStore, KeyRing
from stenograf.backend.chunks import ChunkStore
from stenograf.backend.db import Database
from stenograf.backend.described.everything import describe_backend
from stenograf.backend.detection import LanguageDetector
from stenograf.backend.engine import EngineClient
from stenograf.backend.filelock import FileLock
from stenograf.backend.hub import Hub
from stenograf.backend.jobs import JobStore
from stenograf.backend.lanes import Lane, OpenLane, ShortLane
from stenograf.backend.ledger import Ledger
from stenograf.backend.lengths import Lengths
from stenograf.backend.limits import Limits, OpenUploads, Quota
from stenograf.backend.origins import Origins, PageCors
from stenograf.backend.pipeline import Tools
from stenograf.backend.presence import Presence
from stenograf.backend.queue import ThreadQueue
from stenograf.backend.realtime.desk import RealtimeDesk
from stenograf.backend.recognize import DRAIN_S
from stenograf.backend.recovery import Recovery
from stenograf.backend.seats import Seats
from stenograf.backend.service import Service
from stenograf.backend.session import Sessions, secret_in
from stenograf.backend.shared import SharedWork
from stenograf.backend.spools import Spools
from stenograf.backend.textchat import ChatClient
from stenograf.backend.textledger import TextLedger
from stenograf.backend.textprocess import TextProcessor
from stenograf.backend.textstage import TextStage
from stenograf.backend.textstore import TextStore
from stenograf.backend.textwork import TextWork
from stenograf.backend.upkeep import Chore, Upkeep
from stenograf.backend.uploads import UploadStore
from stenograf.backend.web import SecurityHeaders, install_errors
from stenograf.backend.worker import Worker
from stenograf.backend.wyoming.server import WyomingServer
from stenograf.contract.errors import StenografError
from stenograf.descriptors import room_for_connections
from stenograf.exposure import is_local, refuse_exposed
from stenograf.httpanswers import BodyLimit, RequestId
from stenograf.httpmethods import HeadAsGet
from stenograf.settings import BackendSettings

_log = logging.getLogger(__name__)
_JSON_BODY_BYTES = 1024**2
_CHUNKS_TTL_S = 3600.0
_KEYS_EVERY_S = 2.0
_LOOK_EVERY_S = 1.0
_DAY_S = 24 * 3600.0
_CLOSE_S = DRAIN_S + 1.0


@dataclass
class House:
    """Everything the backend is made of, and its life: `open`, `drain`, `close`."""

    settings: BackendSettings
    database: Database
    recovery: Recovery
    service: Service
    chunks: ChunkStore
    languages: LanguageDetector
    keys: KeyRing
    lengths: Lengths
    spools: Spools
    presence: Presence
    upkeep: Upkeep = field(init=False)
    alone: bool = False
    """Whether no other process worked on the database when this one began."""
    _model_was_away: bool = False

    def __post_init__(self) -> None:
        """Name the chores; they begin with `open`."""
        service, lease_s = self.service, self.settings.lease_s
        self.upkeep = Upkeep(
            [
                Chore("renewing leases", min(lease_s / 3, 5.0), service.worker.renew),
                Chore("taking back lost leases", min(lease_s / 2, 10.0), self._sweep),
                Chore("looking for work", _LOOK_EVERY_S, self._look),
                Chore("looking for the model service", 1.0, self._wake),
                Chore("removing expired uploads", 60.0, self._expire),
                Chore("removing old recordings", 10.0, self._forget),
                Chore("reading the API keys", _KEYS_EVERY_S, self.keys.sync),
            ]
        )

    def prepare(self) -> None:
        """Bring the database up to date and read the keys. Raises Exposed: see `exposure`."""
        self.database.migrate(self.settings.data_dir / "migrate.lock")
        self.keys.sync()
        refuse_exposed(
            "backend",
            self.settings.backend_host,
            self.settings.published_on,
            has_key=self.keys.in_use,
            allow_no_key=self.settings.allow_no_key,
            remedy="Make a key with `stenograf keys create LABEL`",
        )

    def open(self) -> None:
        """Prepare, take back what a dead process held, begin to work.

        Other processes that begin wait until `presence.settle`.
        """
        self.prepare()
        self.alone = self.presence.enter() and self.database.is_sqlite
        if self.alone:
            released = self.recovery.release_dead()
            self.service.release_orphans()
            self.languages.clean()
            self.lengths.clean()
            self.spools.clean(self.recovery.unfinished())
            if released:
                _log.info("%d unfinished recognitions go on", released)
        self.service.queue.start()
        self.upkeep.start()

    def drain(self) -> None:
        """The process is about to end: long answers end, work goes back to the queue."""
        self.service.hub.close()
        self.languages.drain()
        self.service.worker.drain()

    def close(self) -> None:
        """End every thread and give everything back."""
        self.drain()
        self.upkeep.close()
        self.service.queue.close(_CLOSE_S)
        self.languages.close()
        self.service.watching.close()
        self.service.engine.close()
        self.service.uploads.close()
        with suppress(OperationalError):  # when keys were last used is not worth a late end
            self.keys.sync(closing=True)
        self.database.close()
        self.presence.leave()

    def _sweep(self) -> None:
        if self.recovery.sweep():
            self.service.queue.poke()

    def _look(self) -> None:
        # One question for all workers; for what was postponed, and what another process queued.
        if self.recovery.is_due():
            self.service.queue.poke()

    def _wake(self) -> None:
        if not self.recovery.waits_for_model():
            return
        try:
            self.service.engine.check()
        except StenografError:
            self._model_was_away = True
            return
        came_back, self._model_was_away = self._model_was_away, False
        if self.recovery.wake(came_back=came_back):
            self.service.queue.poke()
            self.service.hub.publish_all()

    def _expire(self) -> None:
        self.service.uploads.expire(keep=self.service.jobs.uploads_in_use())
        self.chunks.expire()
        self.spools.clean(self.recovery.unfinished())

    def _forget(self) -> None:
        if days := self.settings.history_keep_days:
            self.service.purge_older(time.time() - days * _DAY_S)


def build(settings: BackendSettings) -> House:
    """The parts of a backend, wired; nothing runs yet."""
    data = settings.data_dir.resolve()
    data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    hub = Hub()
    uploads = UploadStore(
        data / "uploads",
        max_bytes=settings.max_upload_bytes,
        min_free_bytes=settings.min_free_bytes,
        ttl_s=settings.upload_ttl_s,
    )
    engine = EngineClient(
        settings.llm_endpoint,
        api_key=settings.llm_api_key,
        model=settings.llm_model,
        window_timeout_s=settings.window_timeout_s,
    )
    tools = _tools(settings, engine)
    boot_id = uuid.uuid4().hex
    ledger = Ledger(
        database, boot_id=boot_id, lease_s=settings.lease_s, retry_scale=settings.retry_scale
    )
    text = _text_work(settings, database, hub, boot_id)

    spools = Spools(data / "spool")
    worker = Worker(
        ledger,
        tools,
        spools=spools,
        path_of=uploads.path,
        publish=hub.publish,
    )
    lengths = Lengths(
        tools.limits, data / "lengths", bound_s=max(settings.short_workers, default=0.0)
    )
    lanes = _lanes(settings, ledger, lengths, uploads)

    def work(lane: Lane) -> bool:
        worked = worker.process_next(lane)
        if worked:
            text.poke()
        return worked

    service = Service(
        jobs=JobStore(database, max_queued=settings.max_queued_jobs, workers=settings.workers),
        uploads=uploads,
        engine=engine,
        worker=worker,
        queue=ThreadQueue([partial(work, lane) for lane in lanes]),
        hub=hub,
        answer_start_s=settings.answer_start_s,
        text=text,
        watching=SharedWork(),
        seats=Seats(min(settings.max_watchers, room_for_connections() // 2)),
        ownership=FileLock(data / "ownership.lock"),
    )
    chunks = ChunkStore(data / "chunks", max_bytes=settings.max_upload_bytes, ttl_s=_CHUNKS_TTL_S)
    keys = KeyRing(ApiKeyStore(database), _listed(settings.backend_api_keys))
    languages = LanguageDetector(tools, data / "language")
    recovery = Recovery(database, boot_id=boot_id)
    return House(
        settings,
        database,
        recovery,
        service,
        chunks,
        languages,
        keys,
        lengths,
        spools,
        Presence(data),
    )


def _lanes(
    settings: BackendSettings, ledger: Ledger, lengths: Lengths, uploads: UploadStore
) -> list[Lane]:
    anything = [OpenLane(ledger) for _ in range(settings.workers)]
    short = [
        ShortLane(ledger, lengths, uploads.path, longest_s=longest_s, others=anything)
        for longest_s in settings.short_workers
    ]
    return [*anything, *short]


def _listed(setting: str) -> list[str]:
    return [part.strip() for part in setting.split(",") if part.strip()]


def _text_work(settings: BackendSettings, database: Database, hub: Hub, boot_id: str) -> TextWork:
    chat = ChatClient(
        settings.text_llm_url,
        api_key=settings.text_llm_api_key.get_secret_value(),
        model=settings.text_llm_model,
        timeout_s=settings.text_llm_timeout_s,
        in_flight=settings.text_llm_in_flight,
    )
    processor = TextProcessor(
        chat,
        context_chars=settings.text_llm_context_chars,
        in_flight=settings.text_llm_in_flight,
    )
    ledger = TextLedger(
        database, boot_id=boot_id, lease_s=settings.lease_s, retry_scale=settings.retry_scale
    )
    stage = TextStage(
        ledger,
        processor,
        hub.publish,
        at_once=settings.text_llm_in_flight,
        renew_every_s=min(settings.lease_s / 3, 5.0),
    )
    store = TextStore(database, max_waiting=settings.max_queued_jobs)
    return TextWork(chat, processor, store, stage, hub)


def _tools(settings: BackendSettings, engine: EngineClient) -> Tools:
    limits = DecodeLimits(
        timeout_s=settings.decode_timeout_s,
        max_duration_s=settings.max_duration_s,
        memory_bytes=settings.decode_memory_bytes,
        min_free_bytes=settings.min_free_bytes,
    )
    return Tools(
        engine=engine,
        detector=VoiceDetector(),
        limits=limits,
        windows_in_flight=settings.windows_in_flight,
    )


def create_app(settings: BackendSettings) -> FastAPI:
    """Build the backend; workers and chores run while the app's lifespan does.

    `app.state.house` holds the parts, for the process that ends them early.
    """
    house = build(settings)
    origins = Origins(_listed(settings.cors_origins), settings.frontend_port)
    gate = _gate(house, origins)
    uploads = house.service.uploads
    open_uploads = OpenUploads(settings.caller_open_uploads, lambda id: not uploads.info(id).sealed)

    realtime = _realtime(house)
    wyoming = _wyoming(house)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await run_in_threadpool(house.open)
        except BaseException:
            house.presence.leave()
            raise
        async with house.service.text.running(alone=house.alone), wyoming:
            house.presence.settle()
            yield
            realtime.close()
        await run_in_threadpool(house.close)

    app = FastAPI(
        title="stenograf backend",
        version=stenograf.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.house = house
    for router in (
        session_api.router(gate),
        uploads_api.router(uploads, open_uploads),
        jobs_api.router(house.service),
        openai.router(house.service, settings.default_language),
        text_api.router(house.service),
        realtime_api.router(realtime),
        asr.router(house.service),
        detect.router(house.service, house.languages),
        whispercpp.router(house.service),
        seeds.router(house.service),
        legacy.router(house.service, house.chunks),
        ops.router(house.service),
    ):
        app.include_router(router)
    _add_middleware(app, settings, gate, origins)
    install_errors(app)
    describe_backend(app)
    return app


def _gate(house: House, origins: Origins) -> Gate:
    settings = house.settings
    return Gate(
        house.keys,
        Sessions(secret_in(settings.data_dir / "session.secret")),
        origins,
        local=is_local(settings.backend_host, settings.published_on),
        allow_no_key=settings.allow_no_key,
    )


def _realtime(house: House) -> RealtimeDesk:
    settings = house.settings
    return RealtimeDesk(
        house.service,
        VoiceDetector(),
        max_connections=settings.realtime_max_connections,
        idle_timeout_s=settings.realtime_idle_timeout_s,
        max_buffer_s=settings.realtime_max_buffer_s,
    )


def _wyoming(house: House) -> AbstractAsyncContextManager[object]:
    settings = house.settings
    if not settings.wyoming_port:
        return nullcontext()
    refuse_exposed(
        "Wyoming server",
        settings.wyoming_host,
        settings.published_on,
        has_key=False,
        allow_no_key=settings.allow_no_key,
        remedy="Set WYOMING_HOST=127.0.0.1",
    )
    return WyomingServer(house.service, host=settings.wyoming_host, port=settings.wyoming_port)


def _add_middleware(app: FastAPI, settings: BackendSettings, gate: Gate, origins: Origins) -> None:
    """The last one added sees a request first."""
    app.add_middleware(
        BodyLimit,
        default=_JSON_BODY_BYTES,
        limits={
            "/files": None,
            "/v1/audio/": None,
            "/asr": None,
            "/detect-language": None,
            "/inference": None,
            "/transcribe": None,
            "/get_answer": settings.max_get_answer_bytes,
        },
    )
    quota = Quota(settings.caller_requests_per_minute, settings.caller_requests_at_once)
    app.add_middleware(Limits, quota=quota)
    app.add_middleware(Access, gate=gate)
    app.add_middleware(
        PageCors,
        origins=origins,
        methods=["GET", *uploads_api.METHODS],
        headers=[
            *uploads_api.REQUEST_HEADERS,
            *("Authorization", "X-API-Key", "Last-Event-ID", "Range"),
        ],
        exposed=[
            *uploads_api.EXPOSED_HEADERS,
            *("X-Request-Id", "Retry-After", "Content-Disposition", "Content-Range"),
        ],
    )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestId)
    app.add_middleware(HeadAsGet)
