"""Schemas, tables and headings in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

REF = "#/components/schemas/"


def required_word(yes: object) -> str:
    """The cell of a table that says whether something must be given."""
    return "required" if yes else ""


def type_words(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, links to the shapes in it."""
    if reference := schema.get("$ref"):
        name = str(reference).removeprefix(REF)
        return f"[{name}](#{anchor(name)})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            kinds = [type_words(row) for row in schema[choice]]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        values = ", ".join(f"`{value}`" for value in schema["enum"])
        return f"{values} (default `{schema['default']}`)" if schema.get("default") else values
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any"))
    if schema.get("format") == "binary":
        return "bytes"
    if kind == "array":
        return f"list of {type_words(schema.get('items', {}))}"
    return kind + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    limits = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    default = schema.get("default")
    if isinstance(default, (bool, int, float, str)) and default != "":
        limits.append(f"default `{str(default).lower() if isinstance(default, bool) else default}`")
    return f" ({', '.join(limits)})" if limits else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its cells on one line each."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def anchor(title: str) -> str:
    """The fragment that GitHub makes of a heading."""
    kept = (char for char in title.lower() if char.isalnum() or char in " -_")
    return "".join(kept).replace(" ", "-")
