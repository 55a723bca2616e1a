"""What the bot says, in Russian and English."""

import json
from functools import cache
from pathlib import Path

from stenograf.contract.errors import StenografError

LOCALES = ("ru", "en")
_FOLDER = Path(__file__).with_name("locales")
_MAX_DETAIL_CHARS = 300


class Phrases:
    """One language of the bot."""

    def __init__(self, locale: str) -> None:
        self._phrases = _load(locale)

    def __call__(self, name: str, **values: object) -> str:
        """A phrase with its values. Raises KeyError for a name that does not exist."""
        return self._phrases[name].format(**values)

    def problem(self, error: StenografError) -> str:
        """An error in human words: our own for the frequent ones, else what the error says."""
        known = self._phrases.get(f"error_{error.code}")
        if known is not None:
            return known
        told = " ".join(filter(None, [error.message, error.hint]))
        return self("error_other", detail=told[:_MAX_DETAIL_CHARS])


def phrases_for(chosen: str | None, telegram_language: str | None) -> Phrases:
    """By the language a chat chose, else by the one that the person's Telegram shows."""
    if chosen in LOCALES:
        return Phrases(chosen)
    shown = (telegram_language or "ru").lower()
    return Phrases("ru" if shown.split("-")[0] in ("ru", "be", "uk", "kk") else "en")


def clock(seconds: float) -> str:
    """75.2 -> 1:15."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@cache
def _load(locale: str) -> dict[str, str]:
    loaded: dict[str, str] = json.loads((_FOLDER / f"{locale}.json").read_text(encoding="utf-8"))
    return loaded
