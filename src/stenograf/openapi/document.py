"""An app's OpenAPI document, its operations as `Operation` describes them."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from operator import attrgetter
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from stenograf.contract.errors import StenografError, TooLarge
from stenograf.openapi.html import CONTENT_POLICY, page
from stenograf.openapi.markdown import markdown
from stenograf.openapi.operation import Answer, Operation, Operations, Parameter, Schema, Tag

_REF = "#/components/schemas/{model}"
_KEYS: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_TEXT: Schema = {"type": "string"}
_EVENT: Schema = {
    "type": "object",
    "properties": dict.fromkeys(("event", "id", "data"), _TEXT),
    "required": ["data"],
}
_BODIES: Mapping[str, Schema] = {
    "text/event-stream": _EVENT,  # the schema of one event, as readers of such documents take it
    "application/octet-stream": {**_TEXT, "format": "binary"},
}
_PATH_PARTS = {
    "job_id": "id of the job",
    "model": "id of the model, or a name of OpenAI's",
    "model_id": "id of the model, or a name of OpenAI's",
    "text_id": "id of the text work",
    "upload_id": "id of the upload",
}


def describe(
    app: FastAPI,
    operations: Operations,
    tags: Sequence[Tag],
    *,
    about: str,
    server: str,
    every_error: Iterable[type[StenografError]] = (),
) -> None:
    """Let `app.openapi()` give the document, built when it is first asked for, and `/docs` show it.

    `every_error` can happen on any route. Routes and operations are not held to each other here:
    `undescribed` does that.
    """
    builder = _Builder(app, operations, tags, about, server, tuple(every_error))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = builder.document()
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """The document as a page; FastAPI's own would load its scripts from the internet."""
        policy = {"Content-Security-Policy": CONTENT_POLICY}
        return HTMLResponse(page(markdown([app.openapi()])), headers=policy)


def undescribed(app: FastAPI, operations: Operations) -> set[tuple[str, str]]:
    """Routes without a description, and descriptions without a route."""
    return set(operations) ^ {
        (method.upper(), path) for path, row in _plain(app)["paths"].items() for method in row
    }


def _plain(app: FastAPI) -> dict[str, Any]:
    return get_openapi(
        title=app.title, version=app.version, routes=app.routes, separate_input_output_schemas=False
    )


class _Builder:
    def __init__(
        self,
        app: FastAPI,
        operations: Operations,
        tags: Sequence[Tag],
        about: str,
        server: str,
        every_error: tuple[type[StenografError], ...],
    ) -> None:
        self._app = app
        self._operations = operations
        self._tags = tags
        self._about = about
        self._server = server
        self._every_error = every_error

    def document(self) -> dict[str, Any]:
        document = _plain(self._app)
        document["info"]["description"] = self._about
        document["servers"] = [{"url": self._server}]
        document["tags"] = [{"name": tag.name, "description": tag.about} for tag in self._tags]
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["schemas"] = {**self._definitions(), **schemas}
        components["securitySchemes"] = dict(_KEYS)
        for (method, path), operation in self._operations.items():
            row = document["paths"].get(path, {}).get(method.lower())
            if row is not None:
                self._fill(row, operation)
                if method == "HEAD":
                    _strip_bodies(row)
        document["paths"] = self._in_order(document["paths"])
        return document

    def _in_order(self, paths: dict[str, Any]) -> dict[str, Any]:
        order = {path: index for index, (_, path) in reversed([*enumerate(self._operations)])}
        return dict(sorted(paths.items(), key=lambda row: order.get(row[0], len(order))))

    def _definitions(self) -> dict[str, Any]:
        wanted: dict[type[BaseModel], JsonSchemaMode] = {}
        for operation in self._operations.values():
            for shape in _shapes(operation):
                if isinstance(shape, type):
                    wanted[shape] = "validation"
        _, schema = models_json_schema(list(wanted.items()), ref_template=_REF)
        definitions: dict[str, Any] = schema.get("$defs", {})
        return definitions

    def _fill(self, row: dict[str, Any], operation: Operation) -> None:
        row["tags"] = [operation.tag]
        row["summary"] = operation.summary
        row["description"] = operation.about
        for declared in row.get("parameters", ()):
            meanings = {**_PATH_PARTS, **operation.meanings}
            declared.setdefault("description", meanings.get(declared["name"], ""))
        if operation.parameters:
            row["parameters"] = [
                *row.get("parameters", []),
                *(_parameter(parameter) for parameter in operation.parameters),
            ]
        if operation.form is not None:
            row["requestBody"] = _body("multipart/form-data", operation.form)
        elif operation.body is not None:
            row["requestBody"] = _body(operation.body_type, operation.body)
        row["responses"] = self._responses(
            row.get("responses", {}), operation, has_body="requestBody" in row
        )
        row["security"] = [{}] if operation.public else [{}, {"bearer": []}, {"api_key": []}]
        if operation.examples:
            row["x-codeSamples"] = [
                {"lang": "Shell", "label": example.title, "source": example.shell}
                for example in operation.examples
            ]

    def _outer_errors(self, has_body: bool) -> Iterable[type[StenografError]]:
        return (kind for kind in self._every_error if has_body or kind is not TooLarge)

    def _responses(
        self, annotated: dict[str, Any], operation: Operation, *, has_body: bool
    ) -> dict[str, Any]:
        responses = {
            str(status): _answer(answer, annotated.get(str(status), {}))
            for status, answer in operation.answers.items()
        }
        outer = () if operation.public else self._outer_errors(has_body)
        happening: dict[int, dict[type[BaseModel], set[type[StenografError]]]] = {}
        for kinds, shape, status_of in (
            (operation.errors, operation.error_shape, operation.error_status),
            (outer, operation.outer_error_shape, attrgetter("status")),
        ):
            for kind in kinds:
                happening.setdefault(status_of(kind), {}).setdefault(shape, set()).add(kind)
        for status, by_shape in sorted(happening.items()):
            responses.setdefault(str(status), _error(by_shape))
        return responses


def _strip_bodies(row: dict[str, Any]) -> None:
    for response in row["responses"].values():
        response.pop("content", None)


def _shapes(operation: Operation) -> list[type[BaseModel] | Schema | None]:
    answers = [answer.shape for answer in operation.answers.values()]
    errors = [operation.error_shape, operation.outer_error_shape]
    return [operation.form, operation.body, *errors, *answers]


def _body(media_type: str, shape: type[BaseModel] | Schema) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": _schema(shape)}}}


def _schema(shape: type[BaseModel] | Schema) -> dict[str, Any]:
    if isinstance(shape, type):
        return {"$ref": _REF.format(model=shape.__name__)}
    return dict(shape)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }


def _answer(answer: Answer, annotated: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": answer.about}
    content: dict[str, Any] = {}
    if answer.shape is not None:
        content["application/json"] = {"schema": _schema(answer.shape)}
    for media_type in answer.media_types:
        content[media_type] = {"schema": dict(_BODIES.get(media_type, _TEXT))}
    if not content and not answer.empty:
        content = dict(annotated.get("content", {}))
    if answer.example is not None and "application/json" in content:
        content["application/json"] = {**content["application/json"], "example": answer.example}
    if content:
        shown["content"] = content
    if answer.headers:
        shown["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in answer.headers.items()
        }
    return shown


def _error(by_shape: Mapping[type[BaseModel], set[type[StenografError]]]) -> dict[str, Any]:
    kinds = {kind.code: kind for kinds in by_shape.values() for kind in kinds}
    schemas = [_schema(shape) for shape in by_shape]
    return {
        "description": "  \n".join(
            f"`{code}`: {_first_line(kinds[code])}" for code in sorted(kinds)
        ),
        "content": {
            "application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
        },
    }


def _first_line(kind: type[StenografError]) -> str:
    doc = (kind.__doc__ or HTTPStatus(kind.status).phrase).strip()
    return " ".join(doc.split("\n\n")[0].split())
