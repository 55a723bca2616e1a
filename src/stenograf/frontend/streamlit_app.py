"""The page, top to bottom: language, address, one of two views. Run by `stenograf.frontend`."""

import json
from html import escape
from pathlib import Path

import streamlit as st

from stenograf.contract.session import SESSION_COOKIE
from stenograf.exposure import is_local
from stenograf.frontend.client import BackendClient, browser_address
from stenograf.frontend.i18n import LANGUAGES, Language, Translator, choose
from stenograf.frontend.views import Page
from stenograf.settings import FrontendSettings

_HERE = Path(__file__).parent


def header(language: Language) -> None:
    """The name of the house and the switch of languages."""
    t = Translator(language)
    with st.container(key="top", horizontal=True, vertical_alignment="center"):
        if st.button("stenograf", key="wordmark", type="tertiary", help=t("action.home")):
            st.query_params.pop("job", None)
            st.rerun()
        wanted = st.segmented_control(
            t("page.language"),
            LANGUAGES,
            default=language,
            required=True,
            format_func=str.upper,
            label_visibility="collapsed",
            key=f"language_{language}",
        )
    if wanted != language:
        st.query_params["lang"] = wanted
        st.rerun()


def main() -> None:
    """Draw the page once."""
    language = choose(st.query_params.get("lang"), st.context.locale)
    t = Translator(language)
    st.set_page_config(
        page_title=t("page.title"), page_icon=_HERE / "static" / "icon.svg", layout="wide"
    )
    css = (_HERE / "assets" / "shell.css").read_text("utf-8")
    said = f":root {{ --sg-away: {json.dumps(t('page.away'), ensure_ascii=False)}; }}"
    st.html(f"<style>{said} {css}</style>")
    settings = FrontendSettings()
    address = browser_address(settings.backend_endpoint, settings.backend_public_url)
    session = str(st.context.cookies.get(SESSION_COOKIE, ""))
    local = is_local(settings.frontend_host, settings.published_on)
    page = Page(
        BackendClient(settings.backend_endpoint, session=session),
        t,
        address,
        may_be_open=local or settings.allow_no_key,
    )
    header(language)
    if page.lets_in():
        if job_id := st.query_params.get("job"):
            page.recording(job_id)
        else:
            page.home()
        page.farewell()
    st.html(f'<footer class="sg-foot">{escape(t("page.foot"))}</footer>')


if __name__ == "__main__":
    main()
