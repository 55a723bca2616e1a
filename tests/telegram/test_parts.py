"""What is easier to hold in the hand than through Telegram."""

import json
import string
from pathlib import Path

import pytest

import stenograf.telegram
from stenograf.contract.errors import BadOptions, all_errors
from stenograf.telegram.notebook import Notebook
from stenograf.telegram.phrases import LOCALES, Phrases, clock

FOLDER = Path(stenograf.telegram.__file__).parent / "locales"


def values_of(phrase: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(phrase) if name}


def test_both_languages_say_the_same_things() -> None:
    russian, english = (
        json.loads((FOLDER / f"{locale}.json").read_text(encoding="utf-8")) for locale in LOCALES
    )
    assert russian.keys() == english.keys()
    for name, phrase in russian.items():
        assert values_of(phrase) == values_of(english[name]), name
        assert phrase != english[name], name


@pytest.mark.parametrize("locale", LOCALES)
def test_every_error_has_words(locale: str) -> None:
    phrases = Phrases(locale)
    for kind in all_errors():
        told = phrases.problem(kind("What went wrong."))
        assert told and "{" not in told
    assert "What went wrong." in phrases.problem(BadOptions("What went wrong."))


def test_times_are_read_like_a_clock() -> None:
    assert [clock(s) for s in (0, 59.9, 75, 3600, 36_000.5)] == [
        *("0:00", "0:59", "1:15", "1:00:00", "10:00:00"),
    ]


def test_the_notebook_forgets_what_was_said_and_later_that_it_was(tmp_path: Path) -> None:
    now = [1000.0]
    path = tmp_path / "telegram.db"
    with Notebook(path, clock=lambda: now[0]) as notebook:
        assert notebook.receive(1, "тайна")
        assert not notebook.receive(1, "тайна")
        notebook.begin(1)
        notebook.note_job(1, "job", chat_id=5)
        notebook.note_progress(1, 77)
        [stored] = notebook.waiting(10, without=[])
        assert (stored.attempts, stored.job_id, stored.progress_id) == (1, "job", 77)
        assert notebook.waiting(10, without=[1]) == []
        notebook.finish(1)
        assert notebook.waiting(10, without=[]) == []
        assert not notebook.receive(1, "тайна"), "known for a day"
    assert "тайна".encode() not in path.read_bytes()
    with Notebook(path, clock=lambda: now[0]) as notebook:
        assert notebook.has_job("job", 5) and not notebook.has_job("job", 6)
        now[0] += 25 * 3600
        notebook.receive(2, "")
        notebook.finish(2)
        assert notebook.receive(1, "снова")
