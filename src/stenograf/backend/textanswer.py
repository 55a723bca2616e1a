"""Reads what a chat server answers: OpenAI's stream, OpenAI's whole answer, errors."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from stenograf.contract.errors import (
    StenografError,
    TextServiceFailed,
    TextServiceTimeout,
    TextServiceUnavailable,
)

_MAX_MESSAGE_CHARS = 300
_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"


class Reading:
    """One answer as it arrives; `on_text` gets what belongs to it, without the model's thoughts.

    Raises TextServiceFailed for what is not OpenAI's shape and for more than `max_chars`.
    """

    def __init__(self, max_chars: int, on_text: Callable[[str], None]) -> None:
        self.cut = False
        self._max_chars = max_chars
        self._on_text = on_text
        self._seen = ""  # everything, thoughts too
        self._shown = ""
        self._finished = False

    def line(self, line: bytes) -> bool:
        """Take one line of an event stream; True after the last that matters."""
        if not line.startswith(b"data:"):
            return False
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            self._finished = True
            return True
        if data:
            self._take(_parsed(data), "delta")
        return False

    def whole(self, body: bytes) -> None:
        """Take an answer that came in one piece."""
        self._take(_parsed(body), "message")
        self._finished = True

    def end(self) -> str:
        """The answer. Raises TextServiceUnavailable when it broke off, TextServiceFailed if empty.

        A server that ends without `[DONE]` must have said why it finished.
        """
        if not self._finished:
            raise TextServiceUnavailable("The language model's answer broke off in the middle.")
        self._show(final=True)
        if not self._shown.strip():
            raise TextServiceFailed(
                "The language model gave an empty answer.",
                hint="Try again, or name another model in TEXT_LLM_MODEL.",
            )
        return self._shown.strip()

    def _take(self, event: Any, key: str) -> None:
        if not isinstance(event, dict):
            raise _misshapen()
        if event.get("error"):
            raise TextServiceUnavailable(f"The language model failed. {_said(event)}".strip())
        try:
            choices = event.get("choices") or ()
            if not choices:
                return  # usage figures
            content = (choices[0].get(key) or {}).get("content") or ""
            reason = choices[0].get("finish_reason")
        except (AttributeError, LookupError, TypeError):
            raise _misshapen() from None
        if not isinstance(content, str):
            raise _misshapen()
        self._grow(content)
        if reason:
            self._finished = True
            self.cut = self.cut or reason == "length"
        if reason == "content_filter":
            raise TextServiceFailed("The language model's provider refused this text.")

    def _grow(self, content: str) -> None:
        # Half a surrogate pair is valid JSON, but no text that can be stored.
        self._seen += content.replace("\0", "").encode("utf-8", "replace").decode()
        if len(self._seen) > self._max_chars:
            raise TextServiceFailed("The language model talks without end; it was stopped.")
        if content:
            self._show(final=False)

    def _show(self, *, final: bool) -> None:
        visible = _without_thoughts(self._seen, final=final)
        if len(visible) > len(self._shown):
            new, self._shown = visible[len(self._shown) :], visible
            self._on_text(new)


def _without_thoughts(text: str, *, final: bool) -> str:
    """The answer behind a reasoning model's thoughts; nothing while they may still go on."""
    start = text.lstrip()
    if start.startswith(_THOUGHT_BEGINS):
        _, _, answer = start.partition(_THOUGHT_ENDS)
        return answer.lstrip()
    if not final and _THOUGHT_BEGINS.startswith(start):
        return ""
    return start


def failure_of(status: int, said: str, retry_after_s: float | None) -> StenografError:
    """The error that an answer other than 200 means; its class decides whether to try again."""
    tail = f" It says: {said}" if said else ""
    if status in (401, 403):
        return TextServiceFailed(
            f"The language model's server refuses the key.{tail}", hint="Set TEXT_LLM_API_KEY."
        )
    if status == 404:
        return TextServiceFailed(
            f"The language model's server does not know the model or the address.{tail}",
            hint="Correct TEXT_LLM_MODEL and TEXT_LLM_URL.",
        )
    if status == 429:
        return TextServiceUnavailable(
            f"The language model's server is busy.{tail}", retry_after_s=retry_after_s
        )
    if status in (408, 504):
        return TextServiceTimeout(f"The language model's server timed out.{tail}")
    if status >= 500:
        return TextServiceUnavailable(
            f"The language model's server failed with status {status}.{tail}",
            retry_after_s=retry_after_s,
        )
    return TextServiceFailed(
        f"The language model's server refused the request with status {status}.{tail}",
        hint="If the text is too long for the model, lower TEXT_LLM_CONTEXT_CHARS.",
    )


def message_of(body: bytes) -> str:
    """The sentence in an error's body, if it has one, at most 300 characters."""
    try:
        return _said(json.loads(body))
    except (ValueError, RecursionError):
        return ""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; None when it is absent or a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _said(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return " ".join(str(error).split())[:_MAX_MESSAGE_CHARS]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _misshapen() from None


def _misshapen() -> TextServiceFailed:
    return TextServiceFailed(
        "The language model's server answered in a shape that is not OpenAI's chat completion.",
        hint="Correct TEXT_LLM_URL.",
    )
