"""What an entry point does before it serves: read its settings, make sure that it may listen.

Whatever is wrong is told in one sentence for each mistake, never as a traceback.
"""

import errno
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from stenograf.contract.errors import StenografError

_Settings = TypeVar("_Settings", bound=BaseSettings)
_WHY = {
    errno.EACCES: "needs rights that this process does not have",
    errno.EADDRINUSE: "is taken by another program",
    errno.EADDRNOTAVAIL: "is on an address that this machine does not have",
}
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotStart(StenografError):
    """The settings or this machine do not let the program start."""


def configured(kind: type[_Settings], **given: object) -> _Settings:
    """The settings of `kind` from the environment and `.env`; what is `given` goes before both.

    Raises CannotStart with a sentence for each setting that is wrong; no secret is repeated.
    """
    try:
        return kind(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        found = [_sentence(kind, dict(problem)) for problem in error.errors()]
        raise CannotStart(" ".join(found), hint="env.example lists every setting.") from None
    except UnicodeDecodeError:
        raise CannotStart("The file .env is not text in UTF-8.") from None
    except OSError as error:
        raise CannotStart(f"The file .env cannot be read: {error.strerror}.") from None


def refuse_taken(name: str, host: str, port: int) -> None:
    """Raise CannotStart unless a program may listen on this address now.

    `name` is what the two settings have in common: `BACKEND` for BACKEND_HOST and BACKEND_PORT.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise CannotStart(f"{name}_HOST={host} is no address of this machine.") from None
    problems = [_problem(family, kind, address) for family, kind, _, _, address in found]
    told = [problem for problem in problems if problem is not None]
    # a name may have an address of a family that this machine has switched off, beside a good one
    absent = [problem for problem in told if problem.errno in _ABSENT]
    if len(told) > len(absent) or len(told) == len(problems):
        problem = next((problem for problem in told if problem not in absent), told[0])
        why = _WHY.get(problem.errno or 0, f"cannot be used: {problem.strerror}")
        raise CannotStart(f"Port {port} of {host} {why}.", hint=f"Set {name}_PORT or {name}_HOST.")


def refuse_unusable(folder: Path) -> None:
    """Make DATA_DIR. Raises CannotStart unless files can be kept there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotStart(
            f"Nothing can be kept in {folder}: {error.strerror}.",
            hint="Set DATA_DIR to a folder that this process may write to.",
        ) from None


def _problem(family: int, kind: int, address: tuple[Any, ...]) -> OSError | None:
    """What keeps a program from listening there, if anything does."""
    try:
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError as error:
        return error
    return None


@contextmanager
def starting(service: str) -> Iterator[None]:
    """End the process with a sentence and exit code 1 if the block raises a StenografError."""
    try:
        yield
    except StenografError as error:
        sys.exit(f"The {service} does not start. {error.message} {error.hint or ''}".rstrip())


def _sentence(kind: type[BaseSettings], problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = kind.model_fields.get(name)
    if field is None:
        return f"{str(problem['msg']).removeprefix('Value error, ')}."
    return f"{name.upper()}{_shown(field, problem['input'])}: {_reason(field, problem)}."


def _shown(field: FieldInfo, value: object) -> str:
    hidden = field.repr is False or field.annotation is SecretStr
    return "" if hidden else "=" + re.sub(r"//[^/]*@", "//***@", str(value))


def _reason(field: FieldInfo, problem: dict[str, Any]) -> str:
    if problem["type"] == "string_pattern_mismatch":
        return f"this setting is {field.description}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be", "it should be").split(", unable to")[0]
