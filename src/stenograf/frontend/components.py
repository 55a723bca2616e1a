"""The parts of the page that live in the browser: uploader, one job, history, the key.

Each is a Streamlit component made of the scripts and styles under `assets/`. They talk to the
backend themselves (bytes, events, sound) and tell Python only what a person decided.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = {
    "uploader": (
        "vendor/tus.min.js",
        "base.js",
        "shelf.js",
        "upload_queue.js",
        "recorder.js",
        "upload_row.js",
        "uploader.js",
    ),
    "job_view": (
        "base.js",
        "job_feed.js",
        "waveform.js",
        "player.js",
        "lines.js",
        "export_menu.js",
        "job_status.js",
        "text_work.js",
        "job_view.js",
    ),
    "history": ("base.js", "history.js"),
    "sign_in": ("base.js", "sign_in.js"),
}

Mount = Callable[..., Any]


def _join(names: tuple[str, ...]) -> str:
    # ";" ends a vendored script that lacks its own last semicolon
    return "\n;\n".join((_ASSETS / name).read_text("utf-8") for name in names)


@cache
def component(name: str) -> Mount:
    """The mounting command of one component, built on first use."""
    mount: Mount = st.components.v2.component(
        f"stenograf_{name}",
        css=_join(("base.css", f"{name}.css")).replace("\n;\n", "\n"),
        js=_join(_SCRIPTS[name]),
    )
    return mount
