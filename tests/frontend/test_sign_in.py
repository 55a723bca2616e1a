"""The page before a backend that asks for a key, in a real browser, with the real services."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from streamlit.testing.v1 import AppTest

import stenograf.frontend
from stenograf.frontend.i18n import catalogue

from ..servers import backend_process, free_port, frontend_process, llm_process
from .conftest import go_back, hear_tones, wav_file
from .fake_backend import FakeBackend

RU = catalogue("ru")
KEY = "the-key-of-a-visitor-1234"
WAIT_MS = 60_000


@dataclass(frozen=True)
class Locked:
    page: str
    backend: str


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    port, model_key = str(free_port()), "key-of-the-model"
    keys = {"BACKEND_API_KEYS": KEY, "LLM_API_KEY": model_key, "FRONTEND_PORT": port}
    llm = llm_process(folder, ENGINE="fake", LLM_API_KEY=model_key)
    with (
        llm,
        backend_process(folder, llm.url, **keys) as backend,
        frontend_process(folder, backend.url, FRONTEND_PORT=port) as page,
    ):
        yield Locked(page.url, backend.url)


@pytest.fixture
def page(browser: Browser, locked: Locked) -> Iterator[Page]:
    context = browser.new_context(locale="ru-RU")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page.goto(locked.page)
    yield page
    context.close()


@pytest.mark.browser
def test_a_visitor_shows_the_key_once_and_everything_works(
    locked: Locked, page: Page, tmp_path: Path
) -> None:
    expect(page.locator("form h1")).to_have_text(RU["sign_in.title"])
    assert page.locator(".zone, .history").count() == 0
    for wrong in ("wrong-key-of-a-visitor", "ключ"):
        page.get_by_label(RU["sign_in.key"]).fill(wrong)
        page.get_by_role("button", name=RU["sign_in.enter"]).click()
        expect(page.locator("form [role=alert]")).to_contain_text(RU["sign_in.wrong"])
    page.get_by_label(RU["sign_in.key"]).fill(KEY)
    page.get_by_label(RU["sign_in.key"]).press("Enter")
    page.locator(".zone h1").first.wait_for()
    [cookie] = [c for c in page.context.cookies() if c["name"] == "stenograf_session"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert KEY not in cookie["value"]
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert KEY not in stored

    page.get_by_text(RU["options.more"]).click()
    hear_tones(page)
    recording = tmp_path / "Планёрка.wav"
    recording.write_bytes(wav_file(20, amplitude=0.1))
    page.locator("[data-testid=file-input]").set_input_files(recording)  # tus
    page.locator(".line").first.wait_for()  # events, the transcript
    page.wait_for_function(
        "[...document.querySelectorAll('*')].some(e => "
        "(e.shadowRoot ?? e).querySelector?.('audio')?.readyState > 0)"
    )  # sound
    page.locator(".menu summary").click()
    with page.expect_download() as download:
        page.locator("[data-format=srt]").click()
    assert "-->" in Path(download.value.path()).read_text("utf-8")
    go_back(page)
    expect(page.locator("button.entry .name")).to_have_text("Планёрка.wav")  # the page's server

    page.reload()
    page.locator(".zone h1").first.wait_for()
    page.get_by_role("button", name=RU["sign_in.leave"]).click()
    expect(page.locator("form h1")).to_have_text(RU["sign_in.title"])
    assert [c for c in page.context.cookies() if c["name"] == "stenograf_session"] == []
    assert requests.get(f"{locked.backend}/v1/jobs", timeout=60).status_code == 401


def test_a_page_that_others_reach_stays_shut_while_there_is_no_key(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKEND_ENDPOINT", backend.url)
    monkeypatch.chdir(tmp_path)
    script = Path(stenograf.frontend.__file__).with_name("streamlit_app.py")

    def shut(**environment: str) -> bool:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            at = AppTest.from_file(str(script), default_timeout=60)
            at.query_params["lang"] = "ru"
            at.run()
            assert not at.exception
            said = " ".join(str(block.proto.body) for block in at.get("html"))
            assert (RU["sign_in.exposed"] in said) is (not at.slider)
            return RU["sign_in.exposed"] in said

    assert shut(FRONTEND_HOST="0.0.0.0")
    assert not shut(FRONTEND_HOST="0.0.0.0", PUBLISHED_ON="127.0.0.1")
    assert not shut(FRONTEND_HOST="0.0.0.0", ALLOW_NO_KEY="true")
    assert not shut()
