"""The two views of the page: the beginning (drop, settings, history) and one recording."""

import time
from contextlib import suppress
from html import escape
from typing import Any

import streamlit as st

from stenograf.contract.errors import NotFound, OutOfResources, StenografError, Unauthorized
from stenograf.contract.session import SessionState
from stenograf.frontend.client import BackendClient
from stenograf.frontend.components import component
from stenograf.frontend.controls import chosen_options, draw_options
from stenograf.frontend.history import History
from stenograf.frontend.i18n import Translator

RECONNECT_S = 5.0

READY_TRUSTED_S = 5.0  # moving a slider should not wait for every service

SESSION_TRUSTED_S = 5.0

_NOTICE = "notice"
_SESSION = "session_state"
_READY_AT = "ready_at"
_REVISION = "job_revision"


class Page:
    """What every view needs: the backend, the words, and how the browser reaches the backend."""

    def __init__(
        self,
        client: BackendClient,
        t: Translator,
        backend: dict[str, Any],
        *,
        may_be_open: bool = True,
    ) -> None:
        """`may_be_open` lets visitors in without a key while the backend asks for none."""
        self.client = client
        self.t = t
        self.backend = backend
        self.may_be_open = may_be_open

    def lets_in(self) -> bool:
        """Whether this visitor may see the page; if not, ask for the key or say why nobody may."""
        state = self._session_state()
        if state is None:
            return True  # the backend is away: the views say so
        if not state.key_required and not self.may_be_open:
            draw_notice("bad", self.t("sign_in.exposed"), self.t("sign_in.exposed.hint"))
            return False
        if state.key_required and not state.signed_in:
            self._sign_in(signed_in=False)
            return False
        return True

    def farewell(self) -> None:
        """Under everything, for who has shown a key: a way to make this browser forget it."""
        state = self._session_state()
        if state is not None and state.key_required:
            self._sign_in(signed_in=True)

    def _sign_in(self, *, signed_in: bool) -> None:
        component("sign_in")(
            key="sign_in",
            data={
                "backend": self.backend,
                "language": self.t.language,
                "signed_in": signed_in,
                "strings": self.t.subset("error.", "sign_in."),
            },
        )

    def _session_state(self) -> SessionState | None:
        at, state = st.session_state.get(_SESSION, (-SESSION_TRUSTED_S, None))
        if time.monotonic() - at < SESSION_TRUSTED_S:
            known: SessionState = state
            return known
        try:
            fresh = self.client.session()
        except StenografError:
            return None
        st.session_state[_SESSION] = (time.monotonic(), fresh)
        return fresh

    def home(self) -> None:
        """Drop recordings, choose how they are recognized, find earlier ones."""
        self.show_notice()
        self._service_state()
        drop, settings = st.columns([1.75, 1], gap="large")
        with settings, st.container(key="settings"):
            st.html(f'<h2 class="sg-h2">{escape(self.t("options.title"))}</h2>')
            draw_options(self.t)
        with drop:
            self.uploader(compact=False)
        History(self.client, self.t, self._no_history).draw()

    def recording(self, job_id: str) -> None:
        """One job: progress, sound, text, downloads."""
        self.show_notice()
        component("job_view")(
            key="job_view",
            data={
                "job_id": job_id,
                "backend": self.backend,
                "language": self.t.language,
                "revision": st.session_state.get(_REVISION, 0),
                "strings": self.t.subset(
                    "action.", "delete.", "error.", "export.", "player.", "stage.",
                    "status.", "text.", "texts.", "time.", "unit.", "warning.", "wave.",
                ),
            },
            on_action_change=lambda: self.act(job_id, st.session_state["job_view"]["action"]),
        )  # fmt: skip
        self.uploader(compact=True)

    def uploader(self, *, compact: bool) -> None:
        """The drop zone, or only the list of running uploads when `compact`."""
        component("uploader")(
            key="uploader",
            data={
                "backend": self.backend,
                "language": self.t.language,
                "compact": compact,
                "options": chosen_options().model_dump(mode="json"),
                "strings": self.t.subset(
                    "action.delete", "error.", "time.", "unit.", "upload.", "uploader."
                ),
            },
            on_created_change=lambda: self.created(st.session_state["uploader"]["created"]),
        )

    def created(self, event: dict[str, Any] | None) -> None:
        """A job exists now; a recording that came alone is opened if nobody reads another one."""
        if event and event.get("alone") and "job" not in st.query_params:
            st.query_params["job"] = str(event["id"])

    def act(self, job_id: str, event: dict[str, Any] | None) -> None:
        """Carry out a button of the recording: cancel, retry, purge, home; or only look again."""
        name = (event or {}).get("name")
        try:
            if name == "cancel":
                self.client.cancel(job_id)
            elif name == "retry":
                self.client.retry(job_id)
            elif name == "purge":
                with suppress(NotFound):  # somebody else did it already
                    self.client.purge(job_id)
                st.session_state[_NOTICE] = ("plain", self.t("delete.done"), "")
        except StenografError as error:
            st.session_state[_NOTICE] = ("bad", *self.explain(error))
            if isinstance(error, Unauthorized):
                st.session_state.pop(_SESSION, None)
        else:
            if name in ("purge", "home"):
                st.query_params.pop("job", None)
        if name == "look":
            st.session_state.pop(_SESSION, None)
        st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1

    def explain(self, error: StenografError) -> tuple[str, str]:
        """What went wrong and what to do, in the reader's language."""
        title = self.t.get(f"error.{error.code}") or error.message
        hint = self.t.get(f"error.{error.code}.hint") or error.hint or ""
        return title, hint

    def show_notice(self) -> None:
        """Say once what happened to the last action."""
        if notice := st.session_state.pop(_NOTICE, None):
            draw_notice(*notice)

    def _service_state(self) -> None:
        if self._unready() is not None:
            st.fragment(self._wait_until_ready, run_every=RECONNECT_S)()

    def _wait_until_ready(self) -> None:
        problem = self._unready()
        if problem is None:
            st.rerun()
        else:
            draw_notice("warn", *problem)

    def _no_history(self, error: StenografError) -> None:
        if isinstance(error, Unauthorized):
            st.session_state.pop(_SESSION, None)
            if (state := self._session_state()) is not None and not state.signed_in:
                st.rerun()  # to ask for the key
        known_ready = st.session_state.pop(_READY_AT, None) is not None
        if self._unready() is None:
            draw_notice("bad", *self.explain(error))
        elif known_ready:
            st.rerun()  # to say above the list why it is not there

    def _unready(self) -> tuple[str, str] | None:
        if time.monotonic() - st.session_state.get(_READY_AT, -READY_TRUSTED_S) < READY_TRUSTED_S:
            return None
        try:
            body = self.client.readiness()
        except StenografError as error:
            return self.explain(error)
        if body.get("status") == "ready":
            st.session_state[_READY_AT] = time.monotonic()
            return None
        broken = {name: str(why) for name, why in body.get("checks", {}).items() if why != "ok"}
        if "disk" in broken:
            return self.explain(OutOfResources(broken["disk"]))
        said = self.t("service.says", detail="; ".join(broken.values())) if broken else ""
        return self.t("service.not_ready"), f"{self.t('service.not_ready.hint')} {said}"


def draw_notice(tone: str, title: str, hint: str) -> None:
    """A sentence and a way out; both are escaped."""
    role = "alert" if tone == "bad" else "status"
    st.html(
        f'<div class="sg-notice sg-{escape(tone)}" role="{role}">'
        f"<strong>{escape(title)}</strong><p>{escape(hint)}</p></div>"
    )
