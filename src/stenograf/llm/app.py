"""The model service: `create_app(settings)`, and `python -m stenograf.llm` to run it."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

import stenograf
from stenograf.descriptors import raise_limit, room_for_connections
from stenograf.exposure import refuse_exposed
from stenograf.heap import keep_freed_memory
from stenograf.httpanswers import BodyLimit, RequestId, install_errors
from stenograf.httpmethods import HeadAsGet
from stenograf.httpserver import Server, deadline_protocol
from stenograf.llm.api import ModelApi
from stenograf.llm.described import describe_llm
from stenograf.llm.engines.child import child_engine_factory
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.http import KeyCheck
from stenograf.llm.models import EngineFactory, ModelHost
from stenograf.redact import mask_logs
from stenograf.settings import LlmSettings
from stenograf.startup import configured, refuse_taken, starting

_NOT_STARTED = 3  # exit code, as uvicorn's own command line has it
_FINISH_S = 3  # for requests under way when the service is told to stop


def create_app(settings: LlmSettings, load_engine: EngineFactory | None = None) -> FastAPI:
    """Build the service; the model begins to load when the app starts.

    `load_engine` replaces the engine that the settings name.
    """
    host = ModelHost(
        load_engine or child_engine_factory(_engine_settings(settings)),
        queue_size=settings.llm_queue_size,
        max_batch=settings.llm_max_batch,
        max_wait_s=settings.llm_max_wait_ms / 1000,
        keep_alive_s=settings.model_keep_alive_s,
    )
    api = ModelApi(
        host,
        name=settings.local_llm_model,
        default_language=settings.default_language,
        max_audio_s=settings.llm_max_audio_s,
        answer_start_s=settings.answer_start_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        host.start()
        yield
        host.close()

    app = FastAPI(
        title="stenograf model service",
        version=stenograf.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api.router())
    app.add_middleware(
        BodyLimit,
        default=settings.llm_max_upload_bytes,
        hint="Send long recordings to the backend (port 8009).",
    )
    if settings.llm_api_key:
        app.add_middleware(KeyCheck, key=settings.llm_api_key)
    app.add_middleware(RequestId)
    app.add_middleware(HeadAsGet)
    install_errors(app)
    describe_llm(app)
    return app


def _engine_settings(settings: LlmSettings) -> EngineSettings:
    return EngineSettings(
        engine=settings.engine,
        model=settings.local_llm_model,
        dtype=settings.torch_dtype,
        device=settings.device,
        threads=settings.llm_threads,
        data_dir=settings.data_dir,
        hf_home=_hub_cache(settings),
        fake_delay_s=settings.fake_delay_s,
        compute_type=settings.compute_type,
        native_isa="" if settings.native_isa == "auto" else settings.native_isa,
        native_margin_s=settings.native_margin_s,
        cuda_graphs=settings.cuda_graphs,
    )


def _hub_cache(settings: LlmSettings) -> Path:
    return settings.hf_home or settings.data_dir / "hugging_face_cache"


def main() -> None:
    """Read the settings once and serve until a signal comes."""
    keep_freed_memory()
    raise_limit()
    with starting("model service"):
        settings = configured(LlmSettings)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    with starting("model service"):
        refuse_exposed(
            "model service",
            settings.llm_host,
            settings.published_on,
            has_key=bool(settings.llm_api_key),
            allow_no_key=settings.allow_no_key,
            remedy="Set LLM_API_KEY",
        )
        refuse_taken("LLM", settings.llm_host, settings.llm_port)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.llm_host,
        port=settings.llm_port,
        log_level=settings.log_level,
        http=deadline_protocol(max_connections=room_for_connections()),
        timeout_graceful_shutdown=_FINISH_S,
    )
    mask_logs()
    server = Server(config)
    server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)
