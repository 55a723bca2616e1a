"""Colours and type of the page, once: Streamlit's widgets and our components read the same theme.

Every text colour keeps a contrast of at least 4.5:1 on both of its backgrounds.
"""

from typing import Final

FONT: Final = "Golos Text"

_FONT_FACES: Final = [
    {
        "family": FONT,
        "url": "app/static/fonts/golos-text-cyrillic-wght-normal.woff2",
        "weight": "400 900",
        "unicodeRange": "U+0301,U+0400-045F,U+0490-0491,U+04B0-04B1,U+2116",
    },
    {
        "family": FONT,
        "url": "app/static/fonts/golos-text-latin-wght-normal.woff2",
        "weight": "400 900",
        "unicodeRange": "U+0000-00FF,U+0131,U+0152-0153,U+02BB-02BC,U+02C6,U+02DA,U+02DC,"
        "U+2000-206F,U+20AC,U+2122,U+2191,U+2193,U+2212,U+2215,U+FEFF,U+FFFD",
    },
]

_LIGHT: Final = {
    "primaryColor": "#0B6B66",
    "backgroundColor": "#F6F7F7",
    "secondaryBackgroundColor": "#FFFFFF",
    "textColor": "#15191C",
    "borderColor": "#DCE0E1",
    "linkColor": "#0B6B66",
    "redColor": "#B3261E",
    "orangeColor": "#8F5300",
    "grayColor": "#5B656A",
}

_DARK: Final = {
    "primaryColor": "#58C4B8",
    "backgroundColor": "#111416",
    "secondaryBackgroundColor": "#191D20",
    "textColor": "#E7EAEB",
    "borderColor": "#2E3539",
    "linkColor": "#58C4B8",
    "redColor": "#FF8A80",
    "orangeColor": "#F0B35A",
    "grayColor": "#9AA5AA",
}

_COMMON: Final = {
    "font": f"{FONT}, system-ui, sans-serif",
    "headingFont": f"{FONT}, system-ui, sans-serif",
    "fontFaces": _FONT_FACES,
    "baseRadius": "10px",
    "buttonRadius": "10px",
    "showWidgetBorder": True,
}


def theme_flags() -> dict[str, object]:
    """`theme.*` options of Streamlit, spelled as its command line flags are."""
    return {
        **{f"theme_{name}": value for name, value in _COMMON.items()},
        **{f"theme_light_{name}": value for name, value in _LIGHT.items()},
        **{f"theme_dark_{name}": value for name, value in _DARK.items()},
    }
