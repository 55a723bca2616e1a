"""`docs/api.md` out of OpenAPI documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby
from operator import itemgetter
from typing import Any

from stenograf.contract.errors import all_errors
from stenograf.openapi.words import REF, anchor, required_word, table, type_words

_INTRODUCTION = """\
# HTTP APIs

Made by `python -m stenograf.openapi` from the services' own OpenAPI documents (`/openapi.json`;
`/docs` shows them in the browser); a test keeps it up to date and runs every example. In the
examples `recording.flac` is any recording, for one `data/samples/order_number_ru.flac`.
"""
_METHODS = ("post", "get", "head", "put", "patch", "delete", "options")
_Error = tuple[str, str]
"""Status and code."""
_FORM = "multipart/form-data"


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
    forms = {name for document in documents for name in _forms(document)}
    parts.extend(
        _shape(name, schema) for name, schema in sorted(schemas.items()) if name not in forms
    )
    return "\n".join(parts).rstrip() + "\n"


def _forms(document: Mapping[str, Any]) -> Iterator[str]:
    """Shapes that are shown where they are sent."""
    for _, _, operation in _operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get(_FORM)
        if body:
            yield body["schema"]["$ref"].removeprefix(REF)


def _contents(documents: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for document in documents:
        title = _title(document)
        lines.append(f"- [{title}](#{anchor(title)})")
        lines += [
            f"  - [{tag['name']}](#{anchor(_tag_title(document, tag))})" for tag in document["tags"]
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
                schemas = document["components"]["schemas"]
                yield _operation(method, path, operation, everywhere, schemas)


def _title(document: Mapping[str, Any]) -> str:
    title: str = document["info"]["title"].removeprefix("stenograf ")
    return f"The {title}: {document['servers'][0]['url']}"


def _tag_title(document: Mapping[str, Any], tag: Mapping[str, Any]) -> str:
    service = document["info"]["title"].removeprefix("stenograf ")
    return f"{tag['name']} ({service})"


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, row in document["paths"].items():
        for method in sorted(row, key=_METHODS.index):
            yield method.upper(), path, row[method]


def _operation(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    everywhere: Set[_Error],
    schemas: Mapping[str, Any],
) -> str:
    parts = [f"#### `{method} {path}`\n\n{operation['summary']}.\n"]
    if operation.get("description"):
        parts.append(f"{operation['description']}\n")
    parts.extend(_taken(operation, schemas))
    parts.extend(_answers(operation["responses"], everywhere))
    parts.extend(
        f"{_announced(sample['label'])}\n\n```sh\n{sample['source']}\n```\n"
        for sample in operation.get("x-codeSamples", ())
    )
    return "\n".join(parts)


def _announced(label: str) -> str:
    return label if label.endswith("?") else f"{label}:"


def _taken(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    parameters = operation.get("parameters", ())
    if parameters:
        rows = (
            (
                f"`{row['name']}`",
                row["in"],
                type_words(row["schema"]),
                required_word(row.get("required")),
                row.get("description") or row["schema"].get("description", ""),
            )
            for row in parameters
        )
        yield table(("parameter", "in", "type", "", "meaning"), rows)
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        if media_type == _FORM:
            yield f"A form (`{media_type}`):\n"
            yield _fields(schemas[body["schema"]["$ref"].removeprefix(REF)])
        else:
            yield f"Body: `{media_type}`, {type_words(body['schema'])}\n"


def _answers(responses: Mapping[str, Any], everywhere: Set[_Error]) -> Iterator[str]:
    lines = []
    for status, response in responses.items():
        if _codes(response):
            continue
        bodies = [
            f"`{media_type}` {type_words(body['schema'])}"
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
    by_status = groupby(sorted(errors), key=itemgetter(0))
    return "; ".join(
        f"{status} {', '.join(f'`{code}`' for _, code in rows)}" for status, rows in by_status
    )


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
    rows_table = table(("code", "status", "a job is tried again after", "meaning"), rows)
    return (
        '## Errors\n\nOn the backend\'s own routes an error is `{"error": {…}}`, see '
        "[ErrorAnswer](#erroranswer); each dialect has the shape that its clients read. `code` "
        f"stays the same, `hint` says what to do.\n\n{rows_table}"
    )


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    about = " ".join(schema.get("description", "").split())
    lines = [f"### {name}\n"]
    if about:
        lines.append(f"{about}\n")
    lines.append(_fields(schema) if schema.get("properties") else f"{type_words(schema)}\n")
    return "\n".join(lines)


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (
            f"`{field}`",
            type_words(row),
            required_word(field in required),
            row.get("description", ""),
        )
        for field, row in schema["properties"].items()
    )
    return table(("field", "type", "", "meaning"), rows)
