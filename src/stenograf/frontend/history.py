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

_REQUEST_SIZE = 100
_QUERY = "history_query"
_LIMIT = "history_limit"


class History:
    """The list below the drop zone; it refreshes itself while anything in it moves."""

    def __init__(
        self, client: BackendClient, t: Translator, on_failure: Callable[[], None]
    ) -> None:
        self.client = client
        self.t = t
        self.on_failure = on_failure

    def draw(self) -> None:
        """Draw the list; a click on an entry opens it."""
        busy = _busy(self._jobs())
        st.fragment(self._draw, run_every=REFRESH_S if busy else None)(busy)

    def _draw(self, busy: bool) -> None:
        listed = self._jobs()
        if busy != _busy(listed):
            st.rerun()  # something began, ended or broke: ask in another rhythm
        if listed is None:
            return self.on_failure()
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
        )
        if answer.open:
            st.query_params["job"] = answer.open
            st.rerun()

    def _jobs(self) -> tuple[list[JobView], bool] | None:
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
        except StenografError:
            return None
        return jobs, cursor is not None


def _busy(listed: tuple[list[JobView], bool] | None) -> bool:
    return listed is not None and any(not job.status.final for job in listed[0])


def _row(job: JobView) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude={"options", "links", "size_bytes"})


def _remember_search() -> None:
    st.session_state[_QUERY] = st.session_state["history"]["search"] or ""
    st.session_state[_LIMIT] = PAGE_SIZE


def _show_more() -> None:
    st.session_state[_LIMIT] = st.session_state.get(_LIMIT, PAGE_SIZE) + PAGE_SIZE
