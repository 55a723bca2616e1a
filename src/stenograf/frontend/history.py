"""Past and present recordings: what the list shows, when it looks again, how it is searched."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from stenograf.contract.errors import StenografError
from stenograf.contract.jobs import JobView
from stenograf.frontend.client import BackendClient
from stenograf.frontend.components import component
from stenograf.frontend.i18n import Translator

PAGE_SIZE = 20
REFRESH_S = 2.0
REPEAT_S = 5.0

_Listed = tuple[list[JobView], bool]  # the jobs, and whether there are more

_REQUEST_SIZE = 100
_QUERY = "history_query"
_LIMIT = "history_limit"


class History:
    """The list below the drop zone; it refreshes itself while anything in it moves."""

    def __init__(
        self, client: BackendClient, t: Translator, on_failure: Callable[[StenografError], None]
    ) -> None:
        self.client = client
        self.t = t
        self.on_failure = on_failure

    def draw(self) -> None:
        """Draw the list; a click on an entry opens it."""
        rhythm_s = _rhythm_s(self._jobs())
        st.fragment(self._draw, run_every=rhythm_s)(rhythm_s)

    def _draw(self, rhythm_s: float | None) -> None:
        listed = self._jobs()
        if rhythm_s != _rhythm_s(listed):
            st.rerun()  # something began, ended or broke
        if isinstance(listed, StenografError):
            return self.on_failure(listed)
        jobs, has_more = listed
        answer = component("history")(
            key="history",
            data={
                "jobs": [_row(job) for job in jobs],
                "has_more": has_more,
                "query": st.session_state.get(_QUERY, ""),
                "language": self.t.language,
                "strings": self.t.subset("error.", "history."),
            },
            on_search_change=_remember_search,
            on_more_change=_show_more,
            on_open_change=lambda: None,
            on_look_change=lambda: None,
        )
        if answer.open:
            st.query_params["job"] = answer.open
            st.rerun()

    def _jobs(self) -> _Listed | StenografError:
        wanted = st.session_state.get(_LIMIT, PAGE_SIZE)
        query = st.session_state.get(_QUERY, "")
        jobs: list[JobView] = []
        cursor: str | None = None
        try:
            while len(jobs) < wanted:
                page = self.client.jobs(
                    query, limit=min(_REQUEST_SIZE, wanted - len(jobs)), cursor=cursor
                )
                jobs += page.data
                if (cursor := page.next_cursor) is None:
                    break
        except StenografError as error:
            return error
        return jobs, cursor is not None


def _rhythm_s(listed: _Listed | StenografError) -> float | None:
    if isinstance(listed, StenografError):
        return REPEAT_S
    return REFRESH_S if any(not job.status.final for job in listed[0]) else None


def _row(job: JobView) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude={"options", "links", "size_bytes"})


def _remember_search() -> None:
    st.session_state[_QUERY] = st.session_state["history"]["search"] or ""
    st.session_state[_LIMIT] = PAGE_SIZE


def _show_more() -> None:
    st.session_state[_LIMIT] = st.session_state.get(_LIMIT, PAGE_SIZE) + PAGE_SIZE
