"""`docs/api.md` out of OpenAPI documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from stenograf.contract.errors import all_errors

_INTRODUCTION = """\
# HTTP APIs

Made by `python -m stenograf.openapi` from the services' own OpenAPI documents (`/openapi.json`;
`/docs` shows them in the browser); a test keeps it up to date and runs every example. In the
examples `recording.flac` is any recording, for one `data/samples/order_number_ru.flac`.
"""
_METHODS = ("post", "get", "head", "put", "patch", "delete", "options")
_Error = tuple[str, str]
"""Status and code."""
_REF = "#/components/schemas/"


def markdown(documents: Sequence[Mapping[str, Any]]) -> str:
    """One page for several services."""
    schemas: dict[str, Any] = {}
    for document in reversed(documents):
        schemas |= document["components"]["schemas"]
    parts = [_INTRODUCTION, _contents(documents)]
    for document in documents:
        parts.extend(_service(document))
    parts.append(_errors())
    parts.append("## Shapes\n")
    parts.extend(_shape(name, schema) for name, schema in sorted(schemas.items()))
    return "\n".join(parts).rstrip() + "\n"


def _contents(documents: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for document in documents:
        title = _title(document)
        lines.append(f"- [{title}](#{_anchor(title)})")
        lines += [
            f"  - [{tag['name']}](#{_anchor(_tag_title(document, tag))})"
            for tag in document["tags"]
        ]
    return "\n".join([*lines, "- [Errors](#errors)", "- [Shapes](#shapes)", ""])


def _service(document: Mapping[str, Any]) -> Iterator[str]:
    everywhere = _common_errors(document)
    yield f"## {_title(document)}\n\n{document['info']['description']}\n"
    yield f"Errors of every route but the public ones: {_listed(everywhere)}.\n"
    for tag in document["tags"]:
        about = tag["description"].replace("SERVER", document["servers"][0]["url"])
        yield f"### {_tag_title(document, tag)}\n\n{about}\n"
        for method, path, operation in _operations(document):
            if operation["tags"] == [tag["name"]]:
                yield _operation(method, path, operation, everywhere)


def _title(document: Mapping[str, Any]) -> str:
    title: str = document["info"]["title"].removeprefix("stenograf ")
    return f"The {title}: {document['servers'][0]['url']}"


def _tag_title(document: Mapping[str, Any], tag: Mapping[str, Any]) -> str:
    name: str = tag["name"]
    service = document["info"]["title"].removeprefix("stenograf ")
    return f"{name[0].upper()}{name[1:]} ({service})"


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, row in document["paths"].items():
        for method in sorted(row, key=_METHODS.index):
            yield method.upper(), path, row[method]


def _operation(
    method: str, path: str, operation: Mapping[str, Any], everywhere: Set[_Error]
) -> str:
    parts = [f"#### `{method} {path}`\n\n{operation['summary']}.\n"]
    if operation.get("description"):
        parts.append(f"{operation['description']}\n")
    parts.extend(_taken(operation))
    parts.extend(_answers(operation["responses"], everywhere))
    parts.extend(
        f"{sample['label']}:\n\n```sh\n{sample['source']}\n```\n"
        for sample in operation.get("x-codeSamples", ())
    )
    return "\n".join(parts)


def _taken(operation: Mapping[str, Any]) -> Iterator[str]:
    parameters = operation.get("parameters", ())
    if parameters:
        rows = (
            (
                f"`{row['name']}`",
                row["in"],
                _type(row["schema"]),
                _required(row.get("required")),
                row.get("description") or row["schema"].get("description", ""),
            )
            for row in parameters
        )
        yield _table(("parameter", "in", "type", "", "meaning"), rows)
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body: `{media_type}`, {_type(body['schema'])}\n"


def _answers(responses: Mapping[str, Any], everywhere: Set[_Error]) -> Iterator[str]:
    lines = []
    for status, response in responses.items():
        if _codes(response):
            continue
        bodies = [
            f"`{media_type}` {_type(body['schema'])}"
            if media_type == "application/json"
            else f"`{media_type}`"
            for media_type, body in response.get("content", {}).items()
        ]
        headers = [f"`{name}` ({row['description']})" for name, row in _headers(response)]
        told = "; ".join(filter(None, (", ".join(bodies), ", ".join(headers))))
        lines.append(f"- {status}: {response['description']}{f': {told}' if told else ''}")
    if lines:
        yield "\n".join([*lines, ""])
    if errors := _errors_of(responses) - everywhere:
        yield f"Errors: {_listed(errors)}.\n"


def _codes(response: Mapping[str, Any]) -> list[str]:
    """Error codes that a response's description names; none for one that is no error of ours."""
    lines = response["description"].split("  \n")
    return [line.split("`")[1] for line in lines if line.startswith("`") and "`: " in line]


def _errors_of(responses: Mapping[str, Any]) -> Set[_Error]:
    return {(status, code) for status, row in responses.items() for code in _codes(row)}


def _common_errors(document: Mapping[str, Any]) -> Set[_Error]:
    each = [
        _errors_of(operation["responses"])
        for _, _, operation in _operations(document)
        if operation["security"] != [{}]
    ]
    return frozenset.intersection(*map(frozenset, each))


def _listed(errors: Iterable[_Error]) -> str:
    return ", ".join(f"{status} `{code}`" for status, code in sorted(errors))


def _headers(response: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    headers: dict[str, Any] = response.get("headers", {})
    return headers.items()


def _errors() -> str:
    rows = (
        (
            f"`{kind.code}`",
            str(kind.status),
            f"{kind.retry.delay_s:g} s, {kind.retry.count} times" if kind.retry else "",
            " ".join((kind.__doc__ or "").split("\n\n")[0].split()),
        )
        for kind in all_errors()[1:]
    )
    table = _table(("code", "status", "a job is tried again after", "meaning"), rows)
    return (
        '## Errors\n\nOn the backend\'s own routes an error is `{"error": {…}}`, see '
        "[ErrorAnswer](#erroranswer); each dialect has the shape that its clients read. `code` "
        f"stays the same, `hint` says what to do.\n\n{table}"
    )


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    about = " ".join(schema.get("description", "").split())
    lines = [f"### {name}\n"]
    if about:
        lines.append(f"{about}\n")
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    if properties:
        rows = (
            (f"`{field}`", _type(row), _required(field in required), row.get("description", ""))
            for field, row in properties.items()
        )
        lines.append(_table(("field", "type", "", "meaning"), rows))
    else:
        lines.append(f"{_type(schema)}\n")
    return "\n".join(lines)


def _required(yes: object) -> str:
    return "required" if yes else ""


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, links to the shapes in it."""
    if reference := schema.get("$ref"):
        name = str(reference).removeprefix(_REF)
        return f"[{name}](#{_anchor(name)})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            kinds = [_type(row) for row in schema[choice]]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any"))
    if schema.get("format") == "binary":
        return "bytes"
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
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
        limits.append(f"default `{str(default).lower() if default in (True, False) else default}`")
    return f" ({', '.join(limits)})" if limits else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(title: str) -> str:
    """The fragment that GitHub makes of a heading."""
    kept = (char for char in title.lower() if char.isalnum() or char in " -_")
    return "".join(kept).replace(" ", "-")
