"""Values of a form, in each of the spellings that clients have for lists, flags and objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stenograf.contract.errors import BadOptions

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_NOTHING = frozenset({"", "null", "none", "undefined"})  # how clients write that they send nothing
_MAX_SHOWN = 40


class Fields:
    """A form's fields besides the file. Of a value given twice the last one counts."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def text(self, *names: str) -> str:
        """The first of these names that has a value; empty if none has."""
        for name in names:
            value = self._values.get(name, [""])[-1].strip()
            if value.lower() not in _NOTHING:
                return value
        return ""

    def every(self, name: str) -> list[str]:
        """All values of a list: `name`, `name[]` or `name[0]` repeated, in order, none empty."""
        prefix = f"{name}["
        given = [
            value.strip()
            for spelled, values in self._values.items()
            if spelled == name or (spelled.startswith(prefix) and _is_index(spelled, prefix))
            for value in values
        ]
        return [value for value in given if value.lower() not in _NOTHING]

    def flag(self, *names: str) -> bool | None:
        """A yes or no; None if not given. Raises BadOptions."""
        value = self.text(*names).lower()
        if not value:
            return None
        if value not in _TRUE | _FALSE:
            raise BadOptions(
                f"{names[0]}: {shown(value)} is neither true nor false.", param=names[0]
            )
        return value in _TRUE

    def inside(self, name: str) -> dict[str, Any]:
        """An object: a JSON text, or `name[key]` for each key. Raises BadOptions for broken JSON.

        A word that is no object comes back as `{"type": word}`.
        """
        prefix = f"{name}["
        found: dict[str, Any] = {
            spelled[len(prefix) : -1]: values[-1].strip()
            for spelled, values in self._values.items()
            if spelled.startswith(prefix) and spelled.endswith("]") and values
        }
        text = self.text(name)
        if not text:
            return found
        if not text.startswith("{"):
            return found | {"type": text.strip('"')}
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            raise BadOptions(f"{name} is neither a word nor JSON.", param=name) from None
        return found | read if isinstance(read, dict) else found


def shown(value: str) -> str:
    """A client's value as an error message repeats it."""
    return repr(value[:_MAX_SHOWN])


def _is_index(spelled: str, prefix: str) -> bool:
    index = spelled[len(prefix) :].removesuffix("]")
    return spelled.endswith("]") and (not index or index.isdecimal())
