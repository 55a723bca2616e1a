"""A route as its readers need it described; how it is served stands with the route itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from stenograf.contract.errors import StenografError
from stenograf.openapi.shapes import ErrorAnswer

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """One status of an operation.

    `shape` is the JSON body; without it and without `media_types` the body stays what the
    route's own annotation says, or there is none.
    """

    about: str
    shape: type[BaseModel] | Schema | None = None
    media_types: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None
    empty: bool = False
    """There is no body, whatever the annotation says."""


@dataclass(frozen=True)
class Parameter:
    """A query parameter, header or path part that a route reads by hand."""

    name: str
    about: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Example:
    """Shell commands that work as they stand against a running service."""

    title: str
    shell: str


@dataclass(frozen=True)
class Operation:
    """One method on one address. `about` is Markdown."""

    tag: str
    summary: str
    about: str = ""
    parameters: Sequence[Parameter] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What parameters mean that the route declares itself."""
    form: type[BaseModel] | None = None
    body: type[BaseModel] | Schema | None = None
    body_type: str = "application/json"
    answers: Mapping[int, Answer] = field(default_factory=dict)
    errors: Iterable[type[StenografError]] = ()
    error_shape: type[BaseModel] = ErrorAnswer
    error_status: Callable[[type[StenografError]], int] = attrgetter("status")
    outer_error_shape: type[BaseModel] = ErrorAnswer
    """Of errors that happen before the route is reached."""
    examples: Sequence[Example] = ()
    public: bool = False
    """Answered without a key."""


@dataclass(frozen=True)
class Tag:
    """A group of operations: one outside API."""

    name: str
    about: str


Operations = Mapping[tuple[str, str], Operation]
"""(method, path) to its description, in the order in which they are shown."""
