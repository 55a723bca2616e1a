"""What an answer of the model service means that is no transcript, whoever's the service is."""

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from stenograf.contract.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotReady,
    NetworkTimeout,
    OutOfResources,
    Overloaded,
    StenografError,
    Unavailable,
    by_code,
)

_BY_STATUS: Mapping[int, type[StenografError]] = {
    404: ModelNotFound,
    408: NetworkTimeout,
    429: Overloaded,
    504: NetworkTimeout,
    507: OutOfResources,
}
_MAX_MESSAGE_CHARS = 500
_MAX_RETRY_AFTER_S = 3600.0
_MISSING = "LLM_ENDPOINT names the server, LLM_MODEL the model on it."


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> StenografError:
    """The error that an answer other than 200 means; its class decides whether to try again.

    Its sentence is our own service's, or says what another server said.
    """
    code, message = _code_and_message(body, headers)
    retry_after_s = _seconds_of(headers.get("retry-after"))
    if status in (401, 403):  # the operator's business, not that of whoever sent the recording
        return ModelNotReady(
            f"The model service refuses the backend's key. {_quoted(message)}".strip(),
            hint="Set LLM_API_KEY to the key that it asks for.",
            retry_after_s=retry_after_s,
        )
    kind = by_code(code)
    known = kind is not StenografError
    if not known or (status >= 500) != (kind.status >= 500):
        kind = _BY_STATUS.get(status, Unavailable if status >= 500 else BadRequest)
    said = message if known else _quoted(message)
    return kind(
        said or f"The model service answered with status {status}.",
        hint=_MISSING if kind is ModelNotFound and not known else None,
        retry_after_s=retry_after_s,
    )


def _quoted(message: str) -> str:
    return f"The model service said: {message}" if message else ""


def failure_in(status: int, headers: Mapping[str, str], body: bytes) -> StenografError | None:
    """The error of an answer, None if it holds a transcript.

    A failure after a long answer had begun stands in its body under the status 200.
    """
    if status != 200:
        return error_of(status, headers, body)
    if not body.lstrip().startswith(b'{"error"'):
        return None
    code, _ = _code_and_message(body, headers)
    return error_of(by_code(code).status, headers, body)


def _code_and_message(body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        plain = headers.get("content-type", "").startswith("text/plain")
        return "", _sentence(body.decode("utf-8", "replace")) if plain else ""
    error = answer.get("error", answer) if isinstance(answer, dict) else {}
    if not isinstance(error, dict):
        return "", _sentence(error)
    message = error.get("message") or error.get("detail") or ""
    if isinstance(message, list):  # FastAPI's, one for each field
        message = "; ".join(_of_field(row) for row in message)
    return str(error.get("code") or ""), _sentence(message)


def _of_field(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    where = row.get("loc")
    name = str(where[-1]) if isinstance(where, list) and where else ""
    return f"{name}: {row.get('msg')}" if name else str(row.get("msg"))


def _sentence(message: Any) -> str:
    return " ".join(str(message).split())[:_MAX_MESSAGE_CHARS]


def _seconds_of(retry_after: str | None) -> float | None:
    """Seconds or a date, as HTTP has it; None for anything else."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
