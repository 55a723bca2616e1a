"""Every sentence of the page exists in both languages, and nothing else does."""

import re
from pathlib import Path
from string import Formatter

import pytest

import stenograf.frontend
from stenograf.contract.errors import all_errors
from stenograf.contract.jobs import JobStatus, Stage
from stenograf.contract.options import NormalizeOptions, describe
from stenograf.frontend.controls import LANGUAGE_CHOICES, METHOD_PARAMETERS
from stenograf.frontend.i18n import LANGUAGES, Translator, catalogue, choose

FRONTEND = Path(stenograf.frontend.__file__).parent
KEY = re.compile(r"""["'`]([a-z_]+\.[a-z_][a-z_ .]*[a-z_])["'`]""")


def built_keys() -> set[str]:
    """Keys the code puts together from parts."""
    errors = [error.code for error in all_errors()] + ["empty_file"]
    sliders = [f"option.{n}.{m}" for m, names in METHOD_PARAMETERS.items() for n in names]
    sliders += ["option.chunk_size_s", "option.beam_size"]
    formats = ("txt", "srt", "vtt", "tsv", "json", "verbose_json")
    return {
        *(f"error.{code}" for code in errors),
        *(f"error.{code}.hint" for code in errors),
        *(f"language.{code}" for code in LANGUAGE_CHOICES),
        *(f"method.{name}" for name in describe(NormalizeOptions, "method")["enum"]),
        *sliders,
        *(f"{key}.help" for key in sliders),
        *(f"stage.{stage.value}" for stage in Stage),
        *(f"history.{status.value}" for status in JobStatus if status is not JobStatus.COMPLETED),
        *(f"upload.{state}" for state in ("waiting", "paused", "offline", "posting", "failed")),
        *(f"export.{name}" for name in formats),
        *(f"export.{name}.what" for name in formats),
        "warning.no_speech",
        "warning.no_sound",
    }


def written_keys() -> set[str]:
    """Keys that stand in the code as they are."""
    sources = [*FRONTEND.glob("*.py"), *(FRONTEND / "assets").glob("*.js")]
    known = set(catalogue("en"))
    return {key for path in sources for key in KEY.findall(path.read_text("utf-8"))} & known


def test_both_languages_have_the_same_keys() -> None:
    assert list(catalogue("ru")) == list(catalogue("en"))


def test_every_string_is_used_and_every_built_key_exists() -> None:
    used = built_keys() | written_keys()
    assert used - set(catalogue("ru")) == set()
    assert set(catalogue("ru")) - used == set()


@pytest.mark.parametrize("path", [*FRONTEND.glob("*.py"), *(FRONTEND / "assets").glob("*.js")])
def test_code_asks_for_no_unknown_string(path: Path) -> None:
    prefixes = {key.split(".")[0] for key in catalogue("en")}
    code = path.read_text("utf-8")
    asked = re.findall(r"""(?:\bt|say|this\.t|#say|maybe)\(\s*["']([a-z_. ]+)["']""", code)
    asked += [key for key in KEY.findall(code) if key.split(".")[0] in prefixes]
    endings = (".js", ".css", ".json", ".py")
    unknown = {k for k in asked if k not in catalogue("en") and not k.endswith(endings)}
    assert unknown == set()


@pytest.mark.parametrize("key", list(catalogue("en")))
def test_both_languages_fill_the_same_places(key: str) -> None:
    def places(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    assert places(catalogue("ru")[key]) == places(catalogue("en")[key])
    assert catalogue("ru")[key].strip()


def test_every_script_is_part_of_a_component() -> None:
    code = (FRONTEND / "components.py").read_text("utf-8")
    scripts = {path.name for path in (FRONTEND / "assets").glob("*.js")}
    assert {name for name in scripts if f'"{name}"' not in code} == set()


def test_russian_is_written_in_russian() -> None:
    latin_only = {
        key for key, text in catalogue("ru").items() if not re.search(r"[а-яё]", text, re.I)
    }
    assert {key.split(".")[0] for key in latin_only} <= {"export", "wave"}


@pytest.mark.parametrize(
    ("asked", "locale", "language"),
    [
        (None, "ru-RU", "ru"),
        (None, "ru", "ru"),
        (None, "en-GB", "en"),
        (None, "de-DE", "en"),
        (None, None, "en"),
        ("en", "ru-RU", "en"),
        ("ru", "en-US", "ru"),
        ("<script>", "ru-RU", "ru"),
        (None, "rup", "en"),
    ],
)
def test_language_is_the_one_asked_for_then_the_browsers(
    asked: str | None, locale: str | None, language: str
) -> None:
    assert choose(asked, locale) == language


def test_unknown_key_is_an_error_and_values_are_filled_in() -> None:
    t = Translator("ru")
    with pytest.raises(KeyError):
        t("no.such.key")
    assert t("status.elapsed", time="0:07") == "прошло 0:07"
    assert t.get("no.such.key") is None
    assert LANGUAGES == ("ru", "en")
