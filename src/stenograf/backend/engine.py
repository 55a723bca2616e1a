"""Client of the model service: one window in, text with times out, over the OpenAI audio API."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stenograf.backend.answers import error_of, failure_in, read_heard
from stenograf.backend.connection import Aborted, Answer, Connection
from stenograf.backend.records import Heard
from stenograf.contract.errors import (
    ModelNotReady,
    Overloaded,
    StenografError,
    Unavailable,
)
from stenograf.contract.options import TranscribeOptions

_PROBE_TIMEOUT_S = 3.0
_MAX_BUSY_WAIT_S = 5.0
_IDENTITY_KEPT_S = 10.0
_ABSENCE_KEPT_S = 2.0


class EngineClient:
    """The model service at one address; safe for threads."""

    def __init__(
        self, endpoint: str, *, api_key: str = "", model: str = "", window_timeout_s: float = 600.0
    ) -> None:
        self._root = urlsplit(endpoint.rstrip("/"))
        self._api_key = api_key
        self._model = model
        self._window_timeout_s = window_timeout_s
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._known: tuple[float, list[dict[str, Any]] | StenografError] | None = None

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection for this thread; it goes back to the pool unless it was aborted."""
        with self._lock:
            session = self._idle.pop() if self._idle else Connection(self._root, self._api_key)
        try:
            yield session
        finally:
            if session.usable:
                with self._lock:
                    self._idle.append(session)
            else:
                session.close()

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def check(self) -> None:
        """Raise ModelNotReady unless the service can take windows now."""
        with self.session() as session:
            answer = session.send("GET", "/ready", timeout_s=_PROBE_TIMEOUT_S)
            if answer.status == 404:  # another server than ours
                answer = session.send("GET", "/v1/models", timeout_s=_PROBE_TIMEOUT_S)
        if answer.status == 503:
            raise _not_ready(answer)
        if answer.status != 200:
            raise error_of(answer.status, answer.headers, answer.body)

    def models(self) -> list[dict[str, Any]]:
        """Rows of the service's `/v1/models`, remembered for some seconds. Raises Unavailable."""
        with self._lock:
            known = self._known
        if known is None or time.monotonic() > known[0]:
            known = self._ask_models()
            with self._lock:
                self._known = known
        if isinstance(known[1], StenografError):
            raise known[1].with_traceback(None)
        return known[1]

    def _ask_models(self) -> tuple[float, list[dict[str, Any]] | StenografError]:
        try:
            with self.session() as session:
                answer = session.send("GET", "/v1/models", timeout_s=_PROBE_TIMEOUT_S)
            if answer.status != 200:
                raise error_of(answer.status, answer.headers, answer.body)
            return time.monotonic() + _IDENTITY_KEPT_S, _model_rows(answer.json())
        except StenografError as error:
            return time.monotonic() + _ABSENCE_KEPT_S, error

    def model_id(self) -> str:
        """Name of the model that answers when a request names none. Raises Unavailable."""
        return self._model or str(self.models()[0]["id"])

    def transcribe(
        self,
        session: Connection,
        wav: bytes,
        n_samples: int,
        options: TranscribeOptions,
        model: str,
        should_stop: Callable[[], bool],
    ) -> Heard:
        """Recognize one window, a mono 16 kHz WAV file of `n_samples`.

        A busy service is asked again for `window_timeout_s`. Raises what the service's answer
        means, Aborted when the session was or the work should stop.
        """
        body, media_type = _form(wav, _fields(options, model))
        deadline = time.monotonic() + self._window_timeout_s
        while True:
            answer = session.send(
                "POST",
                "/v1/audio/transcriptions",
                timeout_s=self._window_timeout_s,
                body=body,
                media_type=media_type,
            )
            error = failure_in(answer.status, answer.headers, answer.body)
            if error is None:
                return read_heard(answer.json(), n_samples, options.decode.language)
            if not isinstance(error, Overloaded) or time.monotonic() > deadline:
                raise error
            _pause(min(error.retry_after_s or 1.0, _MAX_BUSY_WAIT_S), should_stop)


def _pause(seconds: float, should_stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if should_stop():
            raise Aborted
        time.sleep(0.05)


def _not_ready(answer: Answer) -> StenografError:
    try:
        state = json.loads(answer.body)
    except ValueError:
        state = {}
    if not isinstance(state, dict) or "status" not in state:
        return error_of(answer.status, answer.headers, answer.body)
    detail = str(state.get("detail") or "").strip()
    if state["status"] == "failed":
        return ModelNotReady(
            f"The model could not be loaded. {detail}".strip(),
            hint="The job waits; it goes on once the model service is put right.",
        )
    share = state.get("progress")
    shown = f" ({share:.0%})" if isinstance(share, int | float) and 0 <= share <= 1 else ""
    return ModelNotReady(
        f"The model is still loading{shown}.", hint="The job starts by itself.", retry_after_s=10
    )


def _model_rows(answer: Any) -> list[dict[str, Any]]:
    rows = answer.get("data") if isinstance(answer, dict) else None
    named = [row for row in rows or () if isinstance(row, dict) and row.get("id")]
    if not named:
        raise Unavailable("The model service names no model.")
    return named


def _fields(options: TranscribeOptions, model: str) -> list[tuple[str, str]]:
    decode, guard = options.decode, options.guard
    fields = [
        ("model", model),
        ("response_format", "verbose_json"),
        ("task", decode.task),
        ("temperature", f"{decode.temperature:g}"),
        ("beam_size", str(decode.beam_size)),
        ("compression_ratio_threshold", f"{guard.compression_ratio_threshold:g}"),
        ("logprob_threshold", f"{guard.logprob_threshold:g}"),
        ("no_speech_threshold", f"{guard.no_speech_threshold:g}"),
        ("timestamp_granularities[]", "segment"),
    ]
    if decode.word_timestamps:
        fields.append(("timestamp_granularities[]", "word"))
    if decode.token_logprobs:
        fields.append(("include[]", "logprobs"))
    if decode.language == "auto":
        # Ours detects when asked to; elsewhere to name no language is to ask, and this is ignored.
        fields.append(("detect_language", "true"))
    else:
        fields.append(("language", decode.language))
    fields += [("languages[]", language) for language in decode.languages]
    if decode.prompt:
        fields.append(("prompt", decode.prompt))
    return fields


def _form(wav: bytes, fields: list[tuple[str, str]]) -> tuple[bytes, str]:
    boundary = f"stenograf-{uuid.uuid4().hex}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="window.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    body = b"".join([*parts, head.encode(), wav, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"
