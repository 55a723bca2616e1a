"""The page before the real backend and model service; the recognizer is one without weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from stenograf.frontend.i18n import catalogue

from ..servers import backend_process, free_port, frontend_process, llm_process
from .conftest import go_back, hear_tones, wav_file

pytestmark = pytest.mark.browser

RU = catalogue("ru")
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Page and backend, as addresses."""
    folder = tmp_path_factory.mktemp("services")
    llm = llm_process(folder, ENGINE="fake", FAKE_DELAY_S="1")
    port = str(free_port())
    slowly = {"WINDOWS_IN_FLIGHT": "1", "CORS_ORIGINS": f"http://127.0.0.1:{port}"}
    with (
        llm,
        backend_process(folder, llm.url, **slowly) as backend,
        frontend_process(folder, backend.url, FRONTEND_PORT=port) as page,
    ):
        yield page.url, backend.url


def opened(browser: Browser, url: str) -> Page:
    """The page with its settings open, and heard is what is no speech too."""
    page = browser.new_page(locale="ru-RU")
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page.goto(url)
    page.get_by_text(RU["options.more"]).click()
    hear_tones(page)
    return page


def test_recording_goes_through_the_whole_house(
    services: tuple[str, str], browser: Browser, tmp_path: Path
) -> None:
    url, backend = services
    recording = tmp_path / "Планёрка в четверг.wav"
    recording.write_bytes(wav_file(40, amplitude=0.02))
    page = opened(browser, url)
    slider = page.get_by_role("slider", name=RU["option.chunk_size_s"])
    slider.focus()
    while int(slider.input_value()) > 10:  # a key is lost while the page is drawn anew
        slider.press("ArrowLeft")
    # the settings travel to the page's process and back
    page.locator(
        ".uploader[data-options*='\"chunk_size_s\":10'][data-options*='\"vad\":false']"
    ).wait_for()
    page.locator("[data-testid=file-input]").set_input_files(recording)

    expect(page.locator(".job h1")).to_have_text("Планёрка в четверг.wav")
    page.locator(".line").first.wait_for()
    expect(page.locator(".working")).to_be_hidden()
    [job] = requests.get(f"{backend}/v1/jobs", timeout=60).json()["data"]
    assert job["status"] == "completed"
    assert job["options"]["cut"]["chunk_size_s"] == 10
    assert job["options"]["cut"]["vad"] is False
    assert job["progress"]["windows_total"] >= 4
    text = requests.get(f"{backend}/v1/jobs/{job['id']}/transcript?format=txt", timeout=60).text
    shown = page.locator(".said").all_inner_texts()
    assert " ".join(shown).split() == text.split()
    assert len(text.split()) > 20

    expect(page.locator(".lane.before .num")).to_contain_text("LUFS")
    expect(page.locator(".lane.after .caption")).to_contain_text("+")  # quiet: was lifted
    page.locator(".stamp").nth(2).click()
    expect(page.locator(".line.now .said")).to_have_text(shown[2])
    page.locator(".menu summary").click()
    with page.expect_download() as download:
        page.locator("[data-format=srt]").click()
    assert download.value.suggested_filename == "Планёрка в четверг.srt"
    assert "00:00:0" in Path(download.value.path()).read_text("utf-8")

    page.get_by_role("button", name=RU["action.delete"]).click()
    page.locator("dialog").get_by_role("button", name=RU["delete.confirm"]).click()
    expect(page.get_by_text(RU["delete.done"])).to_be_visible()
    assert requests.get(f"{backend}/v1/jobs/{job['id']}", timeout=60).status_code == 404


def test_stopping_stops_and_what_is_no_sound_is_said(
    services: tuple[str, str], browser: Browser, tmp_path: Path
) -> None:
    url, backend = services
    long = tmp_path / "длинная.wav"
    long.write_bytes(wav_file(600, amplitude=0.1))
    page = opened(browser, url)
    page.locator("[data-testid=file-input]").set_input_files(long)
    page.locator(".line").first.wait_for()
    page.get_by_role("button", name=RU["action.cancel"]).click()
    expect(page.get_by_text(RU["status.cancelled"])).to_be_visible()
    newest = requests.get(f"{backend}/v1/jobs", timeout=60).json()["data"][0]
    assert (newest["filename"], newest["status"]) == ("длинная.wav", "cancelled")

    go_back(page)
    expect(page.locator("[data-testid=file-input]")).to_have_count(1)  # the other view is gone
    text = tmp_path / "договор.mp3"
    text.write_text("это не звук")
    page.locator("[data-testid=file-input]").set_input_files(text)
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.unsupported_format.hint"])
    page.get_by_role("button", name=RU["action.another"]).click()
    expect(page.locator(".zone:visible")).to_have_count(1)
