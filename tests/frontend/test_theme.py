"""What the page promises about colours and about Streamlit's defaults."""

import pytest

from stenograf.frontend.__main__ import SCRIPT, server_flags
from stenograf.frontend.theme import theme_flags
from stenograf.settings import FrontendSettings


def luminance(colour: str) -> float:
    """Relative luminance of #RRGGBB, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21, WCAG 2.2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["textColor", "primaryColor", "linkColor", "grayColor", "redColor", "orangeColor"]
)
@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
def test_every_text_colour_is_readable(theme: str, name: str, ground: str) -> None:
    flags = {key: str(value) for key, value in theme_flags().items()}
    ratio = contrast(flags[f"theme_{theme}_{name}"], flags[f"theme_{theme}_{ground}"])
    assert ratio >= 4.5


def test_visitors_see_no_tracebacks_and_nobody_is_counted() -> None:
    flags = server_flags(FrontendSettings(frontend_port=8765))
    assert flags["client_showErrorDetails"] == "none"
    assert flags["browser_gatherUsageStats"] is False
    assert flags["server_port"] == 8765
    assert SCRIPT.is_file()


def test_fonts_that_the_theme_names_are_shipped() -> None:
    faces = theme_flags()["theme_fontFaces"]
    assert isinstance(faces, list)
    for face in faces:
        assert (SCRIPT.parent / face["url"].removeprefix("app/")).is_file()
