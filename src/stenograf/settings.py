"""Every environment variable of the house, typed, read once by an entry point.

The seed's six names (`LOCAL_LLM_MODEL TORCH_DTYPE DEVICE LLM_ENDPOINT BACKEND_ENDPOINT HF_HOME`)
keep their meaning. Each field's description is what `env.example` says about it.
"""

import re
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stenograf.contract.options import DEFAULT_LANGUAGE

GIB = 1024**3
_DAY_S = 24 * 3600.0
_MOST_SHORT_WORKERS = 64

DEFAULT_MODEL = "mitchelldehaven/whisper-medium-ru"
_ANSWER_START = (
    "an answer that takes longer begins by then, with white space, and repeats it as often, so "
    "that no client gives up"
)


def _service_root(url: object) -> object:
    """Accept the seed's full routes as endpoints: only the root of the service is kept."""
    if not isinstance(url, str):
        return url
    for route in ("/inference", "/get_answer"):
        url = url.rstrip("/").removesuffix(route)
    return url.rstrip("/")


def _http_url(url: str) -> str:
    """Refuse what no HTTP client could ask; "" is for the settings that may be empty."""
    if url and not _is_http_url(url):
        raise ValueError("it should be an address like http://host:port")
    return url


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # of the address, the port or the name
        return False
    plain = url.isprintable() and not re.search(r"[\s?#\\]", url)
    return named and plain and parts.scheme in ("http", "https")


def _https_url(url: str) -> str:
    if url and not (_is_http_url(url) and url.startswith("https:")):
        raise ValueError("it should be an address like https://host")
    return url


def _language(code: str) -> str:
    if not re.fullmatch(r"auto|[a-z]{2,3}", code):
        raise ValueError("it should be a code like ru or en, or auto")
    return code


def _origins(listed: str) -> str:
    for origin in filter(None, (part.strip() for part in listed.split(","))):
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/]+/?", origin):
            raise ValueError(f"{origin} is no origin like https://page.example.org")
    return listed


def _lengths_s(listed: str) -> str:
    try:
        lengths_s = _seconds_in(listed)
    except ValueError:
        raise ValueError("it should be seconds, comma separated, like 120,1200, or 0") from None
    if len(lengths_s) > _MOST_SHORT_WORKERS:
        raise ValueError(f"at most {_MOST_SHORT_WORKERS} lengths are read")
    return listed


def _seconds_in(listed: str) -> tuple[float, ...]:
    """Lengths in a comma-separated setting, without zeros. Raises ValueError."""
    lengths_s = tuple(float(part) for part in listed.split(","))
    if not all(0 <= length_s <= _DAY_S for length_s in lengths_s):
        raise ValueError("out of range")
    return tuple(length_s for length_s in lengths_s if length_s)


def _header_text(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise ValueError("a key has only printable ASCII characters")
    return key


def _secret_header_text(key: SecretStr) -> SecretStr:
    _header_text(key.get_secret_value())
    return key


Endpoint = Annotated[
    str, BeforeValidator(_service_root), AfterValidator(_http_url), Field(min_length=1)
]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Language = Annotated[str, AfterValidator(_language)]
Key = Annotated[str, AfterValidator(_header_text)]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, given: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in given.items() if value != ""}
        for name, value in kept.items():
            if isinstance(value, str) and not value.isprintable():
                raise ValueError(f"{name.upper()} has a character that cannot be printed")
        return kept

    data_dir: Path = Field(
        Path("data"), description="uploads, database, model caches live under this folder"
    )
    default_language: Language = Field(
        DEFAULT_LANGUAGE,
        description="what OpenAI's clients speak when they name no language; auto: detect it",
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda level: level.lower() if isinstance(level, str) else level),
    ] = Field("info", description="least severe log line that is printed")
    published_on: str = Field(
        "",
        description="host address a container's port is published on, which then decides who "
        "reaches the service; docker-compose.yaml sets it",
    )
    allow_no_key: bool = Field(
        False,
        description="start on an address that other machines reach although there is no key; "
        "everybody who reaches it may use it",
    )


class LlmSettings(_Settings):
    """The model service."""

    llm_host: str = Field("127.0.0.1", description="address the model service listens on")
    llm_port: int = Field(4321, ge=0, le=65535, description="port of the model service")
    llm_api_key: Key = Field(
        "",
        description="key that the model service asks for, and that the backend sends to it or to "
        "the server in its place; empty: none",
        repr=False,
    )
    local_llm_model: str = Field(
        DEFAULT_MODEL,
        description="hub id, folder (Hugging Face, CTranslate2 or ONNX) or data/models/… path",
    )
    torch_dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="weights in memory: auto is float32 on CPU, float16 on GPU, bfloat16 there if "
        "the checkpoint is stored so",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    hf_home: Path | None = Field(
        None, description="Hugging Face cache; default data/hugging_face_cache"
    )
    llm_threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of the model; 0: every core"
    )
    engine: Literal["auto", "native", "ctranslate2", "transformers", "onnx", "fake"] = Field(
        "auto",
        description="recognizer: auto takes the fastest that this machine and model allow and "
        "tells which in /health; onnx runs GigaAM and other CTC and RNN-T models; fake invents "
        "words from the sound's level, for tests of the other services only",
    )
    compute_type: Literal["auto", "int8", "int8_float32", "int8_float16", "float16", "float32"] = (
        Field(
            "auto",
            description="numbers of ctranslate2: auto is int8 on CPU, float16 on GPU; of onnx: "
            "auto is float32, or int8",
        )
    )
    native_isa: Literal["auto", "base", "avx2", "avxvnni", "avx512", "amx"] = Field(
        "auto", description="instruction set of the native engine; auto: the best this CPU has"
    )
    native_margin_s: float | None = Field(
        None,
        ge=0,
        le=30,
        description="the native engine looks at so much silence behind a short window instead "
        "of filling 30 s: faster, but only some models read the same; empty: off",
    )
    cuda_graphs: bool = Field(
        True,
        description="on an NVIDIA GPU the engine transformers records its decoding steps once and "
        "replays them; false: each is launched from Python, slower, with less memory",
    )
    fake_delay_s: float = Field(0.0, ge=0, description="time the fake engine takes per window")
    llm_queue_size: int = Field(64, ge=1, description="windows that may wait for the model")
    llm_max_batch: int = Field(
        0,
        ge=0,
        le=64,
        description="windows with equal options that share a forward pass; 0: what suits engine "
        "and device, told in the log and in /health",
    )
    llm_max_wait_ms: int = Field(
        30,
        ge=0,
        le=5_000,
        description="callers who were answered just now may come back so long before a smaller "
        "batch begins; an idle model begins at once",
    )
    model_keep_alive_s: float = Field(
        0.0,
        ge=0,
        description="an idle model's memory is given back after so long, the next request loads "
        "it again; 0: never",
    )
    llm_max_audio_s: float = Field(
        3600.0, gt=0, description="longest sound of a direct request to the model service"
    )
    llm_max_upload_bytes: int = Field(
        200 * 1024**2, ge=1024, description="largest body of a direct request to the model service"
    )
    answer_start_s: float = Field(1.0, gt=0, description=_ANSWER_START)


class BackendSettings(_Settings):
    """The backend service."""

    backend_host: str = Field("127.0.0.1", description="address the backend listens on")
    backend_port: int = Field(8009, ge=0, le=65535, description="port of the backend")
    llm_endpoint: Endpoint = Field(
        "http://127.0.0.1:4321", description="root of the model service, or any OpenAI-like server"
    )
    llm_api_key: Key = Field("", repr=False)
    llm_model: str = Field("", description="model name to ask it for; empty: its own")
    database_url: str = Field(
        "", description="SQLAlchemy URL; empty: SQLite file data/stenograf.db"
    )
    max_upload_bytes: int = Field(
        20 * GIB, ge=1, description="largest recording, bytes; free disk bounds it too"
    )
    min_free_bytes: int = Field(
        1 * GIB, ge=0, description="disk space that uploads never touch, bytes"
    )
    upload_ttl_s: int = Field(
        24 * 3600, ge=60, description="an unfinished or unused upload is removed after this"
    )
    history_keep_days: float = Field(
        0,
        ge=0,
        le=36_500,
        description="days after which a recording and its text are removed, once work on it is "
        "over; 0: kept for ever",
    )
    workers: int = Field(
        4,
        ge=1,
        le=64,
        description="jobs of any length under way at the same time; their windows take turns at "
        "the model",
    )
    short_workers_s: Annotated[str, AfterValidator(_lengths_s)] = Field(
        "120,120,1200",
        description="while all of these are busy, one more job for each length in this list, "
        "seconds: it takes only recordings that are no longer, so that nobody waits for a "
        "stranger's meeting; 0: none",
    )
    windows_in_flight: int = Field(
        8,
        ge=1,
        le=64,
        description="windows of one job at the model at the same time: enough for a batch that "
        "is computed and one that waits",
    )
    max_watchers: int = Field(
        2000, ge=1, description="streams of events that may be open; then 429"
    )
    max_queued_jobs: int = Field(200, ge=1, description="jobs that may wait; then 429")
    lease_s: float = Field(30.0, gt=0, description="a worker silent for so long loses its job")
    window_timeout_s: float = Field(
        600.0, gt=0, description="longest time the model may take for one window"
    )
    retry_scale: float = Field(
        1.0, ge=0, description="multiplies every retry delay; tests make it small"
    )
    decode_timeout_s: float = Field(
        3600.0, gt=0, description="longest time decoding a file may take"
    )
    max_duration_s: float = Field(
        24 * 3600.0, gt=0, description="longest recording that is accepted, seconds"
    )
    decode_memory_bytes: int = Field(
        1 * GIB, ge=128 * 1024**2, description="memory the decoding process may take"
    )
    max_get_answer_bytes: int = Field(
        128 * 1024**2, ge=1024, description="largest JSON body of the seed's /get_answer/ route"
    )
    request_timeout_s: float = Field(
        60.0, gt=0, description="a client that sends nothing for so long is hung up on"
    )
    answer_start_s: float = Field(1.0, gt=0, description=_ANSWER_START)
    text_llm_url: HttpUrl = Field(
        "",
        description="OpenAI-compatible chat server for summaries, punctuation and instructions, "
        "e.g. http://127.0.0.1:11434/v1; empty: no such work",
    )
    text_llm_model: str = Field("", description="model to ask it for; empty: the first it lists")
    text_llm_api_key: Annotated[SecretStr, AfterValidator(_secret_header_text)] = Field(
        SecretStr(""), description="bearer token for that server, if it wants one"
    )
    text_llm_timeout_s: float = Field(
        600.0, gt=0, description="longest time it may take for one answer"
    )
    text_llm_context_chars: int = Field(
        12_000,
        ge=500,
        description="characters of a transcript that fit into one request to it; longer ones go "
        "in pieces",
    )
    text_llm_in_flight: int = Field(
        2, ge=1, le=64, description="requests to it at the same time, all jobs together"
    )
    realtime_max_connections: int = Field(
        32, ge=0, le=1000, description="live transcriptions (/v1/realtime) at the same time"
    )
    realtime_idle_timeout_s: float = Field(
        300.0, gt=0, description="a live transcription without a message for so long is ended"
    )
    realtime_max_buffer_s: float = Field(
        300.0, ge=30, le=3600, description="sound that one live transcription may have waiting"
    )
    wyoming_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of the Wyoming protocol for voice assistants (Home Assistant), usually "
        "10300; 0: off",
    )
    wyoming_host: str = Field(
        "127.0.0.1",
        description="address it listens on; the protocol knows no keys, so any other than the "
        "loopback needs ALLOW_NO_KEY=true",
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        description="pages that may use the backend from a browser, comma separated, beside the "
        "page of this house under the backend's own host name: https://page.example.org",
    )
    frontend_port: int = Field(8010, ge=0, le=65535)
    backend_api_keys: str = Field(
        "",
        description="API keys, comma separated, beside those that `stenograf keys create` makes; "
        "where there is any key every request needs one",
        repr=False,
    )
    caller_requests_per_minute: int = Field(
        6000, ge=0, description="requests a minute of one key or address, then 429; 0: any number"
    )
    caller_requests_at_once: int = Field(
        200, ge=0, description="requests under way at once of one key or address; 0: any number"
    )
    caller_open_uploads: int = Field(
        100, ge=0, description="unfinished uploads of one key or address; 0: any number"
    )

    @property
    def short_workers(self) -> tuple[float, ...]:
        """The longest recording, seconds, of each worker for short ones."""
        return _seconds_in(self.short_workers_s)

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database that these settings mean."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'stenograf.db'}"


class FrontendSettings(_Settings):
    """The page."""

    frontend_host: str = Field("127.0.0.1", description="address the page listens on")
    frontend_port: int = Field(8010, ge=0, le=65535, description="port of the page")
    backend_endpoint: Endpoint = Field(
        "http://127.0.0.1:8009", description="root of the backend, as the page's server sees it"
    )
    backend_public_url: HttpUrl = Field(
        "",
        description="root of the backend as the browser sees it; empty: the page's own host "
        "name with the backend's port",
    )


class ClientSettings(_Settings):
    """The command line."""

    stenograf_api_key: Key = Field(
        "", description="API key that the command line and the bot send to the backend", repr=False
    )


class TelegramSettings(_Settings):
    """The Telegram bot, which runs only if it is started: `python -m stenograf.telegram`."""

    telegram_token: str = Field("", description="the bot's token, from @BotFather", repr=False)
    telegram_allowed_users: str = Field(
        "",
        description="who may use the bot, comma separated: numeric ids or @names; * is everybody, "
        "empty nobody (the bot then tells people their ids)",
    )
    telegram_language: Language = Field(
        "ru",
        description="language spoken in chats that did not choose one with /language",
    )
    telegram_jobs_at_once: int = Field(
        4, ge=1, le=64, description="recordings the bot works on at the same time; others wait"
    )
    telegram_api_url: Endpoint = Field(
        "https://api.telegram.org",
        description="Bot API server; one of your own lifts the limit of 20 MB a file",
    )
    telegram_api_local: bool = Field(
        False,
        description="that server runs with --local: files are read from its folder, up to 2 GB",
    )
    telegram_webhook_url: Annotated[str, AfterValidator(_https_url)] = Field(
        "",
        description="public address Telegram sends messages to; empty: the bot asks for them",
    )
    telegram_webhook_secret: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_-]{16,256})?$",
        description="16 characters or more that prove a message comes from Telegram; needed with "
        "a webhook",
        repr=False,
    )
    telegram_webhook_host: str = Field("127.0.0.1", description="address the webhook listens on")
    telegram_webhook_port: int = Field(
        8011, ge=0, le=65535, description="port the webhook listens on"
    )
    backend_endpoint: Endpoint = Field(
        "http://127.0.0.1:8009", description="root of the backend, as the bot sees it"
    )
    stenograf_api_key: Key = Field(
        "", description="API key that the bot sends to the backend", repr=False
    )


class ContainerSettings(_Settings):
    """What `docker-compose.yaml` reads from .env beside the ports; no service reads it."""

    publish_address: str = Field(
        "127.0.0.1", description="host address the ports are published on; 0.0.0.0 opens them"
    )
    container_llm_endpoint: Endpoint = Field(
        "http://llm:4321", description="LLM_ENDPOINT of the backend's container"
    )
    llm_memory: str = Field("8g", description="memory limit of the model service's container")
    backend_memory: str = Field("3g", description="memory limit of the backend's container")
    frontend_memory: str = Field("1g", description="memory limit of the page's container")
    telegram_memory: str = Field("512m", description="memory limit of the Telegram bot's container")
    compose_profiles: str = Field("", description="telegram starts the Telegram bot as well")
    llm_cpus: float = Field(0, ge=0, description="CPU limit of the model service; 0: none")
    backend_cpus: float = Field(0, ge=0, description="CPU limit of the backend; 0: none")
    frontend_cpus: float = Field(0, ge=0, description="CPU limit of the page; 0: none")


SEED_NAMES = (
    "LOCAL_LLM_MODEL",
    "TORCH_DTYPE",
    "DEVICE",
    "LLM_ENDPOINT",
    "BACKEND_ENDPOINT",
    "HF_HOME",
)

_SECTIONS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("model service (llm, 4321)", LlmSettings),
    ("backend (8009)", BackendSettings),
    ("page (frontend, 8010)", FrontendSettings),
    ("command line", ClientSettings),
    ("Telegram bot", TelegramSettings),
    ("containers (docker-compose.yaml)", ContainerSettings),
)


def env_example() -> str:
    """The text of `env.example`: every setting with its help and its default."""
    lines = [
        "# Copy to .env (`make update_env_file`) and change what you need; every line is optional.",
        "# A line that is commented out shows the default.",
    ]
    described: set[str] = set()
    for title, settings in _SECTIONS:
        lines += ["", f"# --- {title} ---"]
        for name, field in settings.model_fields.items():
            if name in described or not field.description:  # another section describes it
                continue
            described.add(name)
            lines += [f"# {line}" for line in wrap(field.description or "", 96)]
            default = "" if field.default is None else field.default
            mark = "" if name.upper() in SEED_NAMES and default else "# "
            lines.append(f"{mark}{name.upper()}={default}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(env_example(), end="")  # noqa: T201 - `python -m stenograf.settings > env.example`
