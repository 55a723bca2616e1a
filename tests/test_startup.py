"""Settings that are wrong: every program says so in a sentence and does not start."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from stenograf import cli
from stenograf.backend.app import create_app as create_backend
from stenograf.backend.db import Database, DatabaseUnusable
from stenograf.contract.errors import StenografError
from stenograf.frontend.client import browser_address
from stenograf.llm.app import create_app as create_llm
from stenograf.settings import (
    BackendSettings,
    ClientSettings,
    FrontendSettings,
    LlmSettings,
    TelegramSettings,
)
from stenograf.startup import CannotStart, configured, refuse_taken

JUNK = (
    *("http://[::1", "junk", " ", "http://", "ftp://x", "http://a b", "http://x:99999"),
    *("http://a..b", "-1", "0", "nan", "1e400", "9" * 30, "ключ", ",", "*"),
)
ROOT = Path(__file__).resolve().parents[1]
KINDS = (BackendSettings, LlmSettings, FrontendSettings, TelegramSettings, ClientSettings)


def _backend(settings: BackendSettings) -> None:
    house = create_backend(settings).state.house
    try:
        house.prepare()
    finally:
        house.close()


def _page(settings: FrontendSettings) -> None:
    browser_address(settings.backend_endpoint, settings.backend_public_url)


BUILD: dict[type[BaseSettings], Callable[..., object]] = {
    BackendSettings: _backend,
    LlmSettings: create_llm,
    FrontendSettings: _page,
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder without `.env`, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in kind.model_fields],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_junk_in_any_setting_is_refused_in_a_sentence_or_harmless(
    kind: type[BaseSettings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = getattr(configured(kind), name)
    accepted: dict[object, BaseSettings] = {}
    for junk in JUNK:
        monkeypatch.setenv(name.upper(), junk)
        try:
            settings = configured(kind)
        except CannotStart as error:
            assert error.message.startswith(name.upper())
            assert "\n" not in error.message and "type=" not in error.message
        else:
            accepted[getattr(settings, name)] = settings
    if not isinstance(usual, str | Path | None):
        assert len(accepted) < len(JUNK)
    for settings in list(accepted.values())[:2]:
        try:
            BUILD.get(kind, id)(settings)
        except StenografError as error:
            assert error.message.endswith(".")


def test_empty_line_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{name.upper()}=" for kind in KINDS for name in kind.model_fields]
    Path(".env").write_text("\n".join(lines))
    for kind in KINDS:
        assert configured(kind) == kind(_env_file=None)


def test_an_empty_variable_outranks_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TEXT_LLM_URL=http://other\nLOG_LEVEL=INFO\n")
    monkeypatch.setenv("TEXT_LLM_URL", "")
    settings = configured(BackendSettings)
    assert (settings.text_llm_url, settings.log_level) == ("", "info")


def test_several_mistakes_are_told_at_once_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "many")
    monkeypatch.setenv("LLM_ENDPOINT", "http://me:hunter2@[::1")
    monkeypatch.setenv("LLM_API_KEY", "пароль")
    with pytest.raises(CannotStart) as told:
        configured(BackendSettings)
    for name in ("WORKERS=many", "LLM_ENDPOINT=", "LLM_API_KEY"):
        assert name in told.value.message
    assert "hunter2" not in told.value.message and "пароль" not in told.value.message


def test_env_file_in_another_encoding_is_told() -> None:
    Path(".env").write_bytes("LLM_MODEL=модель".encode("cp1251"))
    with pytest.raises(CannotStart, match="UTF-8"):
        configured(BackendSettings)


@pytest.mark.parametrize("name", ["LLM_MODEL", "LOG_LEVEL", "WORKERS"])
def test_variable_in_another_encoding_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, os.fsdecode("модель".encode("cp1251")))
    with pytest.raises(CannotStart, match=f"{name} has a character"):
        configured(BackendSettings)


@pytest.mark.parametrize(
    "url", ["junk", "http://a", "sqlite:///nowhere/x.db", "sqlite:////proc/x", "sqlite:///."]
)
def test_database_that_cannot_be_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable):
        Database(url).migrate(tmp_path / "lock")


def test_database_of_a_newer_version_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate(tmp_path / "lock")
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num='m9999'")
    with pytest.raises(DatabaseUnusable, match="another version"):
        database.migrate(tmp_path / "lock")


def test_cli_names_its_own_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["transcribe", "a.wav", "--backend", "ftp://x"]) == cli.USAGE
    assert capsys.readouterr().err.startswith("stenograf: --backend ftp://x: it should be")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the loopback interface that somebody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(CannotStart, match="does not have"):
        refuse_taken("BACKEND", "192.0.2.1", 0)


def test_a_name_with_one_good_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    known = [(*stream, ("192.0.2.1", 0)), (*stream, ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    refuse_taken("BACKEND", "both.example", 0)


@pytest.mark.parametrize(
    ("service", "setting"),
    [
        ("backend", "BACKEND_PORT"),
        ("backend", "WYOMING_PORT"),
        ("llm", "LLM_PORT"),
        ("frontend", "FRONTEND_PORT"),
    ],
)
def test_taken_port_is_told(service: str, setting: str, taken: int) -> None:
    assert _last_words(service, {"BACKEND_PORT": "0", setting: str(taken)}).endswith(
        f"Port {taken} of 127.0.0.1 is taken by another program."
        f" Set {setting} or {setting.replace('PORT', 'HOST')}."
    )


@pytest.mark.parametrize(
    ("service", "setting", "value"),
    [
        ("backend", "LLM_ENDPOINT", "http://[::1"),
        ("backend", "DATA_DIR", "/proc/nowhere"),
        ("llm", "LLM_QUEUE_SIZE", "none"),
        ("frontend", "BACKEND_ENDPOINT", "somewhere"),
        pytest.param("telegram", "TELEGRAM_API_URL", "http://[::1", marks=pytest.mark.slow),
        ("keys_cli list", "DATABASE_URL", "junk"),
    ],
)
def test_program_ends_with_one_line(service: str, setting: str, value: str) -> None:
    line = _last_words(service, {setting: value})
    assert value in line or setting in line


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    words = ["PYTHON=/nowhere/python", f"VENV={tmp_path / 'venv'}", "TORCH_INDEX=", "setup"]
    run = subprocess.run(["make", "-C", ROOT, *words], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert run.stderr.startswith("Python 3.11 or newer is needed")


def _last_words(service: str, settings: dict[str, str]) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    words = service.split()
    run = subprocess.run(
        [sys.executable, "-m", f"stenograf.{words[0]}", *words[1:]],
        env=kept | {"DATA_DIR": "data"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1, run.stderr
    [line] = run.stderr.strip().splitlines()
    return line
