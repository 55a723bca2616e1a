"""The Python half of the page: settings, language, views, what buttons do."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import stenograf.frontend
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import NormalizeOptions, TranscribeOptions, describe
from stenograf.frontend.i18n import catalogue

from ..servers import free_port
from .conftest import wav_file
from .fake_backend import FakeBackend

SCRIPT = Path(stenograf.frontend.__file__).with_name("streamlit_app.py")
RU = catalogue("ru")


@pytest.fixture
def at(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AppTest:
    monkeypatch.setenv("BACKEND_ENDPOINT", backend.url)
    monkeypatch.chdir(tmp_path)
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    page.query_params["lang"] = "ru"
    return page


def options(at: AppTest) -> TranscribeOptions:
    chosen: TranscribeOptions = at.session_state["chosen_options"]
    return chosen


def labels(at: AppTest) -> list[str]:
    return [slider.label for slider in at.slider]


def notices(at: AppTest) -> str:
    return " ".join(str(block.proto.body) for block in at.get("html"))


def test_defaults_of_the_page_are_the_defaults_of_the_contract(at: AppTest) -> None:
    at.run()
    assert not at.exception
    assert options(at) == TranscribeOptions()


def test_each_method_shows_only_its_own_parameters(at: AppTest) -> None:
    at.run()
    always = {RU["option.chunk_size_s"], RU["option.beam_size"]}
    own = {
        "auto": set(),
        "as is": set(),
        "peak": {RU["option.target_peak.peak"]},
        "rms": {RU["option.target_db.rms"]},
        "lufs": {RU["option.target_db.lufs"]},
    }
    assert set(own) == set(describe(NormalizeOptions, "method")["enum"])
    for method, expected in own.items():
        at.selectbox(key="option_method").set_value(method).run()
        assert set(labels(at)) - always == expected
        assert options(at).normalize.method == method


def test_ranges_are_those_of_the_contract(at: AppTest) -> None:
    at.run()
    at.selectbox(key="option_method").set_value("peak").run()
    peak = at.slider(key="option_target_peak_peak")
    assert (peak.min, peak.max, peak.value) == (0.01, 1.0, 0.95)
    at.selectbox(key="option_method").set_value("lufs").run()
    loudness = at.slider(key="option_target_db_lufs")
    assert (loudness.min, loudness.max, loudness.value) == (-40.0, -10.0, -20.0)
    size = at.slider(key="option_chunk_size_s")
    assert (size.min, size.max, size.value) == (1, 30, 30)


def test_chosen_settings_reach_the_job_and_stay(at: AppTest) -> None:
    at.run()
    at.slider(key="option_chunk_size_s").set_value(10)
    at.selectbox(key="option_language").set_value("auto")
    at.selectbox(key="option_method").set_value("rms")
    at.run()
    at.slider(key="option_target_db_rms").set_value(-16.0)
    at.text_area(key="option_prompt").set_value("Кравец")
    at.toggle(key="option_vad").set_value(False)
    at.run()
    wanted = options(at)
    assert wanted.cut.chunk_size_s == 10
    assert wanted.cut.vad is False
    assert wanted.normalize.target_db == -16
    assert wanted.decode.language == "auto"
    assert wanted.decode.prompt == "Кравец"
    assert TranscribeOptions.model_validate(wanted.model_dump()) == wanted
    at.query_params["job"] = "abc"  # another view, where the widgets are not drawn
    at.run()
    assert not at.slider
    del at.query_params["job"]
    at.run()
    assert options(at) == wanted
    assert at.slider(key="option_chunk_size_s").value == 10


def test_language_of_the_page_can_be_switched(at: AppTest) -> None:
    at.run()
    assert RU["option.language"] in [box.label for box in at.selectbox]
    at.get("button_group")[0].set_value("en").run()
    assert at.query_params["lang"] == "en"
    assert catalogue("en")["option.language"] in [box.label for box in at.selectbox]


def test_backend_that_is_away_is_said_in_words(
    at: AppTest, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKEND_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    at.run()
    assert not at.exception
    assert RU["error.unavailable"] in notices(at)
    assert RU["error.unavailable.hint"] in notices(at)


def test_backend_that_went_away_is_noticed(
    at: AppTest, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.run()
    assert RU["error.unavailable"] not in notices(at)
    monkeypatch.setenv("BACKEND_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    at.run()
    assert RU["error.unavailable"] in notices(at)


def test_loading_model_is_said_and_then_no_more(at: AppTest, backend: FakeBackend) -> None:
    backend.jobs.checks["llm"] = "The model <b>is loading</b>"
    at.run()
    assert RU["service.not_ready"] in notices(at)
    assert "The model &lt;b&gt;is loading" in notices(at)
    backend.jobs.checks["llm"] = "ok"
    at.run()
    assert RU["service.not_ready"] not in notices(at)


def test_full_disk_is_said_in_words(at: AppTest, backend: FakeBackend) -> None:
    backend.jobs.checks["disk"] = "There is no disk space left for uploads."
    at.run()
    assert RU["error.out_of_resources.hint"] in notices(at)


def press(at: AppTest, job_id: str, name: str) -> AppTest:
    """What the recording's component would send, through the page's own handler."""
    code = f"""
import streamlit as st
from stenograf.frontend.client import BackendClient
from stenograf.frontend.i18n import Translator
from stenograf.frontend.views import Page
from stenograf.settings import FrontendSettings
page = Page(BackendClient(FrontendSettings().backend_endpoint), Translator("ru"), {{}})
if not st.session_state.get("pressed"):
    st.session_state["pressed"] = True
    page.act({job_id!r}, {{"name": {name!r}}})
page.show_notice()
"""
    script = AppTest.from_string(code, default_timeout=60)
    script.query_params["job"] = job_id
    return script.run()


@pytest.mark.parametrize(
    ("name", "status", "leaves"),
    [("cancel", JobStatus.CANCELLED, False), ("home", JobStatus.RUNNING, True)],
)
def test_buttons_of_a_running_job(
    at: AppTest, backend: FakeBackend, name: str, status: JobStatus, leaves: bool
) -> None:
    backend.jobs.hold_at = 0
    job = backend.jobs.add("запись.wav", wav_file(20))
    script = press(at, job.id, name)
    assert not script.exception
    assert backend.jobs.get(job.id).view.status is status
    assert ("job" in script.query_params) is not leaves


def test_deleting_says_so_and_goes_home(at: AppTest, backend: FakeBackend) -> None:
    job = backend.jobs.add("запись.wav", wav_file(1), run=False)
    script = press(at, job.id, "purge")
    assert job.id not in backend.jobs.jobs
    assert "job" not in script.query_params
    assert RU["delete.done"] in notices(script)


def test_button_that_comes_too_late_gives_a_sentence(at: AppTest) -> None:
    script = press(at, "gone", "cancel")
    assert not script.exception
    assert RU["error.not_found"] in notices(script)
    assert script.query_params["job"] == "gone"


@pytest.mark.parametrize(
    ("event", "opened"),
    [
        ({"id": "j1", "alone": True}, "j1"),
        ({"id": "j1", "alone": False}, None),
        (None, None),
    ],
)
def test_recording_that_came_alone_is_opened(
    at: AppTest, event: dict[str, Any] | None, opened: str | None
) -> None:
    code = f"""
from stenograf.frontend.client import BackendClient
from stenograf.frontend.i18n import Translator
from stenograf.frontend.views import Page
Page(BackendClient("http://127.0.0.1:9"), Translator("ru"), {{}}).created({event!r})
"""
    script = AppTest.from_string(code, default_timeout=60).run()
    found = script.query_params.get("job")
    assert found == opened


def test_notice_escapes_what_it_is_given() -> None:
    script = AppTest.from_string(
        "from stenograf.frontend.views import draw_notice\n"
        "draw_notice('bad', '<img src=x onerror=alert(1)>', '<b>hint</b>')",
        default_timeout=60,
    ).run()
    assert "<img" not in notices(script)
    assert "&lt;b&gt;hint" in notices(script)
