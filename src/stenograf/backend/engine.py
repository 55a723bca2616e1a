"""Client of the model service: one window in, text with times out, over the OpenAI audio API.

The service is ours or any other with that API. To ours goes everything that decides the text, to
another OpenAI's fields; which one it is, its list of models says.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stenograf.backend.answers import read_heard
from stenograf.backend.connection import Aborted, Answer, Connection
from stenograf.backend.records import Heard
from stenograf.backend.refusals import error_of, failure_in
from stenograf.backend.windowform import WindowForm, our_form, plain_form
from stenograf.contract.errors import (
    BadRequest,
    ModelNotReady,
    Overloaded,
    StenografError,
    Unavailable,
)
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import Waveform
from stenograf.openai_audio.names import RECORDING_HEADER

_log = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 3.0
_MAX_BUSY_WAIT_S = 5.0
_IDENTITY_KEPT_S = 10.0
_ABSENCE_KEPT_S = 2.0
_OURS = "stenograf"
_NO_TIMES = ("verbose_json", "response_format", "timestamp_granularities")


class EngineClient:
    """The model service at one address; safe for threads."""

    def __init__(
        self, endpoint: str, *, api_key: str = "", model: str = "", window_timeout_s: float = 600.0
    ) -> None:
        """`endpoint` is the server's root, or OpenAI's base address, which ends in /v1."""
        self._root = urlsplit(endpoint.rstrip("/").removesuffix("/v1"))
        self._api_key = api_key
        self._model = model
        self._window_timeout_s = window_timeout_s
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._known: tuple[float, list[dict[str, Any]] | StenografError] | None = None
        self._is_ours: bool | None = None
        self._without_times: set[str] = set()  # models that refused to give any
        self._answered_at = 0.0

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
            if answer.status not in (200, 503):  # another server than ours
                answer = session.send("GET", "/v1/models", timeout_s=_PROBE_TIMEOUT_S)
                self._rows(answer)
                return
        if answer.status == 503:
            raise _not_ready(answer)

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
            rows = self._rows(answer)
            self._is_ours = any(row.get("owned_by") == _OURS for row in rows)
            return time.monotonic() + _IDENTITY_KEPT_S, rows
        except StenografError as error:
            return time.monotonic() + _ABSENCE_KEPT_S, error

    def _rows(self, answer: Answer) -> list[dict[str, Any]]:
        """What `/v1/models` says; a server that has none need not, where its model was named."""
        if answer.status == 404 and self._model:
            return [{"id": self._model, "object": "model"}]
        if answer.status == 404:
            raise ModelNotReady(
                "The model service lists no models.",
                hint="Set LLM_MODEL to the one to ask it for.",
            )
        if answer.status != 200:
            raise error_of(answer.status, answer.headers, answer.body)
        return _model_rows(answer.json())

    def model_id(self) -> str:
        """Name of the model that answers when a request names none. Raises Unavailable."""
        return self._model or str(self.models()[0]["id"])

    def transcribe(
        self,
        session: Connection,
        waveform: Waveform,
        options: TranscribeOptions,
        model: str,
        should_stop: Callable[[], bool],
        recording: str = "",
    ) -> Heard:
        """Recognize one window, float32 (n_samples,) at 16 kHz; outside [-1, 1] it clips.

        Windows of one `recording` share its turns at the model, so that none crowds others out.
        A busy service is asked again for `window_timeout_s`, and a window may wait in its line as
        long as no more time than that passes between two answers. Raises what the service's answer
        means, Aborted when the session was or the work should stop.
        """
        began = time.monotonic()
        deadline = began + self._window_timeout_s

        def overdue() -> bool:
            last = max(began, self._answered_at)
            return time.monotonic() > last + self._window_timeout_s

        while True:
            form = self._form(options, model)
            body, media_type = form.body(waveform)
            answer = session.send(
                "POST",
                form.path,
                timeout_s=self._window_timeout_s,
                body=body,
                media_type=media_type,
                more={RECORDING_HEADER: recording} if recording else None,
                overdue=overdue,
            )
            self._answered_at = time.monotonic()
            error = failure_in(answer.status, answer.headers, answer.body)
            if error is None:
                return read_heard(answer.json(), len(waveform), options.decode.language)
            if self._gives_no_times(error, model):
                continue
            wait_s = self._wait_s(error)
            if wait_s is None or time.monotonic() + wait_s > deadline:
                raise error
            _pause(wait_s, should_stop)

    def _form(self, options: TranscribeOptions, model: str) -> WindowForm:
        if self._is_ours is None:
            self.models()
        if self._is_ours:
            return our_form(options, model)
        return plain_form(options, model, times=model not in self._without_times)

    def _gives_no_times(self, error: StenografError, model: str) -> bool:
        """Whether this is how another server says that the model gives text only; remembered."""
        if self._is_ours or model in self._without_times or not isinstance(error, BadRequest):
            return False
        if not any(name in error.message for name in _NO_TIMES):
            return False
        _log.warning("the model %s gives text without times: %s", model, error.message)
        self._without_times.add(model)
        return True

    def _wait_s(self, error: StenografError) -> float | None:
        """When to ask a busy service again; None where it is not that."""
        if isinstance(error, ModelNotReady) or not isinstance(error, Unavailable):
            return None
        if isinstance(error, Overloaded):
            wait_s = error.retry_after_s or 1.0
            return min(wait_s, _MAX_BUSY_WAIT_S) if self._is_ours else wait_s
        return error.retry_after_s


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
