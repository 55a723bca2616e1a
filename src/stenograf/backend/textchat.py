"""Client of an OpenAI-compatible chat server: one prompt in, one streamed answer out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from stenograf.backend.textanswer import Reading, failure_of, message_of, retry_after_s
from stenograf.backend.textprompts import Prompt
from stenograf.backend.textwire import bounded_body, read_into, transport_failure
from stenograf.contract.errors import (
    StenografError,
    TextServiceFailed,
    TextServiceNotConfigured,
    TextServiceTimeout,
    TextServiceUnavailable,
)

_CONNECT_TIMEOUT_S = 5.0
_MODELS_TIMEOUT_S = 5.0
_MAX_BUSY_WAITS = 3
_MAX_BUSY_WAIT_S = 30.0


def ignore(_: str) -> None:
    """Take no notice of what an answer says so far."""


@dataclass(frozen=True)
class Answer:
    """What the model said; `cut`: it had to stop before its end."""

    text: str
    model: str
    cut: bool = False


class ChatClient:
    """A chat server at `url`, or none when `url` is empty. Lives on one event loop.

    At most `in_flight` requests run at once; one that waits longer than `timeout_s` for its turn,
    or then for its answer, is given up. Cancelling a call closes its connection, so the server may
    stop too.
    """

    def __init__(
        self, url: str, *, api_key: str, model: str, timeout_s: float, in_flight: int
    ) -> None:
        self._root = _api_root(url)
        self._api_key = api_key
        self._model = model
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(in_flight)
        self._http: httpx.AsyncClient | None = None
        self._fixed_temperature = False

    @property
    def configured(self) -> bool:
        """Whether the operator has named a server."""
        return bool(self._root)

    @property
    def model(self) -> str:
        """The model that answers, as far as it is known."""
        return self._model

    async def close(self) -> None:
        """Close every connection."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def complete(
        self, prompt: Prompt, *, max_chars: int, on_text: Callable[[str], None] = ignore
    ) -> Answer:
        """Ask once; `on_text` gets the answer piece by piece as it comes.

        The same prompt gives the same answer as far as the server can (temperature 0). A busy
        server is asked again when it says. Raises TextServiceNotConfigured, TextServiceTimeout,
        TextServiceUnavailable, and TextServiceFailed for a refusal, an answer that is empty or
        unreadable, and one longer than `max_chars`.
        """
        if not self._root:
            raise not_configured()
        async with self._place(), self._bounded_call():
            return await self._ask(prompt, max_chars, on_text)

    async def identify(self) -> str:
        """Name of the model that answers. Raises what `complete` does."""
        if not self._root:
            raise not_configured()
        async with self._bounded_call():
            return await self._model_name()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise TextServiceUnavailable(
                "The language model is busy with other texts.", retry_after_s=self._timeout_s
            ) from None
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def _bounded_call(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            raise TextServiceTimeout(
                f"The language model did not finish within {self._timeout_s:g} s.",
                hint="Raise TEXT_LLM_TIMEOUT_S, or lower TEXT_LLM_CONTEXT_CHARS.",
            ) from None
        except httpx.HTTPError as error:
            raise transport_failure(error) from None
        except (httpx.InvalidURL, UnicodeError):
            raise TextServiceFailed(
                "The language model's address or key cannot be sent.",
                hint="Correct TEXT_LLM_URL and TEXT_LLM_API_KEY.",
            ) from None

    async def _ask(self, prompt: Prompt, max_chars: int, on_text: Callable[[str], None]) -> Answer:
        model = await self._model_name()
        waits = 0
        while True:
            body = self._body(prompt, model)
            async with self._client().stream("POST", "/chat/completions", json=body) as response:
                if response.status_code == 200:
                    reading = Reading(max_chars, on_text)
                    await read_into(reading, response)
                    return Answer(reading.end(), model, cut=reading.cut)
                content = await bounded_body(response)
            error = self._refusal(response, content)
            if response.status_code == 400 and "temperature" in body and _about(content):
                self._fixed_temperature = True  # this model takes no other than its own
                continue
            wait_s = error.retry_after_s or 1.0
            if response.status_code != 429 or waits >= _MAX_BUSY_WAITS or wait_s > _MAX_BUSY_WAIT_S:
                raise error
            waits += 1
            await asyncio.sleep(wait_s)

    async def _model_name(self) -> str:
        if self._model:
            return self._model
        response = await self._client().get("/models", timeout=_MODELS_TIMEOUT_S)
        if response.status_code != 200:
            error = self._refusal(response, response.content)
            error.hint = error.hint or "Set TEXT_LLM_MODEL; the server's own list cannot be read."
            raise error
        try:
            self._model = str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise TextServiceFailed(
                "The language model's server does not say which models it has.",
                hint="Set TEXT_LLM_MODEL.",
            ) from None
        return self._model

    def _body(self, prompt: Prompt, model: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "stream": True,
        }
        return body if self._fixed_temperature else {**body, "temperature": 0}

    def _refusal(self, response: httpx.Response, content: bytes) -> StenografError:
        said = message_of(content)
        if self._api_key:
            said = said.replace(self._api_key, "…")
        return failure_of(response.status_code, said, retry_after_s(response.headers))

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            key = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
            self._http = httpx.AsyncClient(
                base_url=self._root,
                headers=key,
                timeout=httpx.Timeout(self._timeout_s, connect=_CONNECT_TIMEOUT_S),
            )
        return self._http


def not_configured() -> TextServiceNotConfigured:
    """The error of whoever asks for text work where no server is named."""
    return TextServiceNotConfigured(
        "No language model is configured here.",
        hint="The operator sets TEXT_LLM_URL to an OpenAI-compatible chat server.",
    )


def _api_root(url: str) -> str:
    """The address that `/chat/completions` follows; a bare host gets the usual `/v1`."""
    root = url.rstrip("/").removesuffix("/chat/completions")
    return f"{root}/v1" if root and not urlsplit(root).path else root


def _about(content: bytes) -> bool:
    return b"temperature" in content.lower()
