"""Words of the page in Russian and English: `locales/{ru,en}.json`, flat, the same keys in both."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Language = Literal["ru", "en"]
LANGUAGES: tuple[Language, ...] = ("ru", "en")

_FOLDER = Path(__file__).with_name("locales")


@lru_cache
def catalogue(language: Language) -> dict[str, str]:
    """Every string of one language by key."""
    strings: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return strings


def choose(asked: str | None, locale: str | None) -> Language:
    """The language asked for in the address, else the browser's; English for all others."""
    for wish in (asked, locale):
        tag = (wish or "").lower()
        for language in LANGUAGES:
            if tag == language or tag.startswith(f"{language}-"):
                return language
    return "en"


@dataclass(frozen=True)
class Translator:
    """Strings of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The string under `key` with `{name}` places filled; KeyError for an unknown key."""
        text = catalogue(self.language)[key]
        return text.format(**values) if values else text

    def get(self, key: str) -> str | None:
        """The string under `key`, or None."""
        return catalogue(self.language).get(key)

    def subset(self, *prefixes: str) -> dict[str, str]:
        """Strings whose keys start with one of `prefixes`, for a component in the browser."""
        return {k: v for k, v in catalogue(self.language).items() if k.startswith(prefixes)}
