"""Parameters that a client puts into the query or into the form, as it likes."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import TranscribeOptions
from stenograf.forms import Form
from stenograf.httpanswers import invalid_input
from stenograf.transcripts.languages import code_of

_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE = frozenset({"false", "0", "no", "off", "f", "n"})
_REGION = re.compile(r"[-_][a-z0-9]{2,4}$")
_MAX_PROMPT_CHARS = 2_000


class Given:
    """What came with a request. Empty values count as not given; the query wins over the form.

    Every method takes the names of one parameter, the preferred one first, and raises BadOptions
    with that name for a value it does not understand.
    """

    def __init__(self, query: QueryParams, form: Form) -> None:
        self._query = query
        self._form = form

    def has(self, names: Iterable[str]) -> bool:
        """Whether any of these parameters has a value."""
        return any(self.text(name) for name in names)

    def text(self, *names: str) -> str:
        """The value, stripped; empty if not given."""
        for name in names:
            if value := self._query.get(name, "").strip() or self._form.last(name):
                return value
        return ""

    def flag(self, *names: str) -> bool | None:
        """A yes or no, None if not given."""
        value = self.text(*names).lower()
        if value and value not in _TRUE | _FALSE:
            raise BadOptions(
                f"{names[0]} is {value[:40]!r}.", hint="Send true or false.", param=names[0]
            )
        return value in _TRUE if value else None

    def number(self, *names: str) -> float | None:
        """A finite number, None if not given."""
        value = self.text(*names)
        if not value:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadOptions(
                f"{names[0]} is {value[:40]!r}.", hint="Send a number.", param=names[0]
            )
        return number

    def one_of(self, choices: Iterable[str], *names: str) -> str:
        """One of some words, in any case; empty if not given."""
        value, known = self.text(*names).lower(), tuple(choices)
        if value and value not in known:
            raise BadOptions(
                f"{names[0]} is {value[:40]!r}.",
                hint=f"Choose one of: {', '.join(known)}.",
                param=names[0],
            )
        return value

    def language(self, default: str) -> str:
        """`language` as a code, given as a code, a locale (`ru-RU`) or an English name."""
        value = self.text("language").lower()
        bare = _REGION.sub("", value)
        return code_of(value) or code_of(bare) or value or default


def prompt_of(*parts: str) -> str:
    """What the recognizer is told to expect; of too much the end counts, as in Whisper."""
    return " ".join(filter(None, parts))[-_MAX_PROMPT_CHARS:].strip()


def options_of(model: str = "", **groups: Mapping[str, Any]) -> TranscribeOptions:
    """Checked options from groups of values, those that are None left out. Raises BadOptions."""
    given = {
        group: {name: value for name, value in values.items() if value is not None}
        for group, values in groups.items()
    }
    try:
        return TranscribeOptions.model_validate({"model": model, **given})
    except ValidationError as error:
        rows = [{"loc": row["loc"][-1:], "msg": row["msg"]} for row in error.errors()]
        raise invalid_input(rows) from None
