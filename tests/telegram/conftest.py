"""A running bot and the Telegram it believes in."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stenograf.settings import TelegramSettings
from stenograf.telegram.app import run
from stenograf.telegram.progress import Rhythm

from ..servers import SAMPLES, Process
from ..waiting import until as until
from .bot_api import PERSON, TOKEN, BotApi

NO_PROGRESS = Rhythm(first_s=3600)


class RunningBot:
    """The bot in a thread with a loop of its own; `stop` is what a signal does."""

    def __init__(self, rhythm: Rhythm, **settings: object) -> None:
        values = {
            "telegram_token": TOKEN,
            "telegram_allowed_users": str(PERSON),
            "_env_file": None,
            **settings,
        }
        self._settings = TelegramSettings(**values)  # type: ignore[arg-type]
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(run(self._settings, rhythm))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            try:
                self._loop.run_until_complete(self._task)
            except Exception as error:
                self.error = error
        self._loop.close()

    def stop(self) -> None:
        """End it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the bot did not end"


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    api = BotApi()
    api.start()
    yield api
    api.close()


@pytest.fixture
def make_bot(telegram: BotApi, tmp_path: Path) -> Iterator[Callable[..., RunningBot]]:
    """Start a bot before a backend: `make_bot(url, telegram_language="en")`."""
    started: list[RunningBot] = []

    def make(backend_url: str, rhythm: Rhythm = NO_PROGRESS, **settings: object) -> RunningBot:
        bot = RunningBot(
            rhythm,
            **{
                "telegram_api_url": telegram.url,
                "backend_endpoint": backend_url,
                "data_dir": tmp_path,
                **settings,
            },
        )
        started.append(bot)
        return bot

    yield make
    for bot in started:
        bot.stop()
        assert bot.error is None, bot.error


def bot_process(folder: Path, **environment: str) -> Process:
    """The bot as it is started in earnest, to be killed; it has no address to wait for."""
    settings = {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_ALLOWED_USERS": str(PERSON)}
    settings |= {"DATA_DIR": str(folder)} | environment
    bot = Process("stenograf.telegram", settings, "", folder / "bot.log")
    bot.launch()
    return bot


def sample(name: str) -> bytes:
    """A shipped recording."""
    return (SAMPLES / f"{name}.flac").read_bytes()
