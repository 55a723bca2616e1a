"""Recognition settings: each control takes its range, default and choices from `contract.options`.

What a person chose outlives a visit to another view, where these widgets are not drawn.
"""

from typing import Any

import streamlit as st
from pydantic import BaseModel

from stenograf.contract.options import (
    CutOptions,
    DecodeOptions,
    NormalizeOptions,
    TranscribeOptions,
    describe,
)
from stenograf.frontend.i18n import Translator

LANGUAGE_CHOICES = ("ru", "auto", "en", "uk", "be", "kk", "de", "fr", "es", "it", "pl", "tr", "zh")
METHOD_PARAMETERS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "as is": (),
    "peak": ("target_peak",),
    "rms": ("target_db",),
    "lufs": ("target_db",),
}
_STEP = {"target_peak": 0.01, "target_db": 0.5, "ceiling_db": 0.5}
_CHOSEN = "chosen_options"


def chosen_options() -> TranscribeOptions:
    """What the controls say, or said when they were last on the page."""
    options: TranscribeOptions = st.session_state.setdefault(_CHOSEN, TranscribeOptions())
    return options


def draw_options(t: Translator) -> TranscribeOptions:
    """Draw the settings and return them."""
    before = chosen_options()
    decode: dict[str, Any] = {"language": _language(before.decode.language, t)}
    normalize = _normalize(before.normalize, t)
    cut: dict[str, Any] = {
        "chunk_size_s": _slider(CutOptions, "chunk_size_s", before.cut.chunk_size_s, t)
    }
    with st.expander(t("options.more"), key="options_more"):
        decode["prompt"] = _text(before.decode.prompt, t)
        decode["beam_size"] = _slider(DecodeOptions, "beam_size", before.decode.beam_size, t)
        cut["vad"] = st.toggle(
            t("option.vad"), before.cut.vad, help=t("option.vad.help"), key="option_vad"
        )
    after = before.model_copy(
        update={
            "decode": before.decode.model_copy(update=decode),
            "normalize": normalize,
            "cut": before.cut.model_copy(update=cut),
        }
    )
    st.session_state[_CHOSEN] = after
    return after


def _language(value: str, t: Translator) -> str:
    choices = LANGUAGE_CHOICES if value in LANGUAGE_CHOICES else (*LANGUAGE_CHOICES, value)
    chosen: str = st.selectbox(
        t("option.language"),
        choices,
        index=choices.index(value),
        format_func=lambda code: t.get(f"language.{code}") or code,
        help=t("option.language.help"),
        key="option_language",
    )
    return chosen


def _normalize(before: NormalizeOptions, t: Translator) -> NormalizeOptions:
    methods = describe(NormalizeOptions, "method")["enum"]
    method: str = st.selectbox(
        t("option.method"),
        methods,
        index=methods.index(before.method),
        format_func=lambda name: t(f"method.{name}"),
        help=t("option.method.help"),
        key="option_method",
    )
    values: dict[str, Any] = {
        name: _slider(
            NormalizeOptions, name, getattr(before, name), t, label=f"option.{name}.{method}"
        )
        for name in METHOD_PARAMETERS[method]
    }
    return before.model_copy(update={"method": method, **values})


def _slider(
    model: type[BaseModel], name: str, value: float, t: Translator, *, label: str | None = None
) -> float:
    key = label or f"option.{name}"
    schema = describe(model, name)
    whole = schema["type"] == "integer"
    step = 1 if whole else _STEP[name]
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + step)
    high = schema["maximum"]
    number = int if whole else float
    chosen: float = st.slider(
        t(key),
        number(low),
        number(high),
        number(value),
        number(step),
        help=t(f"{key}.help"),
        key=key.replace(".", "_"),
    )
    return chosen


def _text(value: str, t: Translator) -> str:
    chosen: str = st.text_area(
        t("option.prompt"),
        value,
        max_chars=describe(DecodeOptions, "prompt")["maxLength"],
        help=t("option.prompt.help"),
        placeholder=t("option.prompt.example"),
        height=80,
        key="option_prompt",
    )
    return chosen
