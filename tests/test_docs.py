"""Documentation that a test holds to the code."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

import stenograf
from stenograf.contract import errors
from stenograf.settings import (
    BackendSettings,
    FrontendSettings,
    LlmSettings,
    TelegramSettings,
    env_example,
)

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: tuple[type[BaseSettings], ...] = (
    LlmSettings,
    BackendSettings,
    FrontendSettings,
    TelegramSettings,
)


def test_env_example_is_what_the_settings_say() -> None:
    assert (ROOT / "env.example").read_text() == env_example()


def test_env_example_is_accepted_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"^(?:# )?([A-Z_]+)=", env_example(), re.MULTILINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for settings in SETTINGS:
        settings(_env_file=ROOT / "env.example")


@pytest.mark.parametrize("name", ["README.md", "README.ru.md"])
def test_readme_starts_with_the_two_commands(name: str) -> None:
    text = (ROOT / name).read_text()
    assert 0 < text.index("make demo") < text.index("make test") < 2500


def test_changelog_starts_with_this_version() -> None:
    top = re.search(r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert top is not None
    assert top.group(1) == stenograf.__version__


def test_error_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = set(re.findall(r"(\w+) +(\d{3}) (\w+)", errors.__doc__ or ""))
    real = {(c.__name__, str(c.status), c.code) for c in errors.all_errors()}
    assert drawn == real


def test_every_make_target_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(" ".join(re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", makefile, re.MULTILINE)).split())
    described = set(re.findall(r"^([a-zA-Z_]+):.*## \S", makefile, re.MULTILINE))
    assert phony - {"\\"} == described
