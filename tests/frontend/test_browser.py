"""The whole page in headless Chromium, from a dropped file to text, against the fake backend."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Error, Page, expect

import stenograf.frontend
from stenograf.contract.errors import OutOfResources
from stenograf.contract.jobs import JobStatus
from stenograf.contract.transcript import Warning
from stenograf.frontend.i18n import catalogue

from ..waiting import until
from .conftest import WAIT_MS, Open, RunningPage, go_back, tabs, wav_file
from .fake_backend import FakeBackend
from .fake_jobs import PHRASES

pytestmark = pytest.mark.browser

RU = catalogue("ru")
HOSTILE_NAME = '<img src=x onerror="document.title=`hacked`">.wav'


@pytest.fixture
def backend(page_backend: FakeBackend) -> FakeBackend:
    return page_backend


@pytest.fixture
def open_page(browser: Browser, page_process: RunningPage) -> Iterator[Open]:
    allowed = ["clipboard-read", "clipboard-write", "microphone"]
    with tabs(
        browser, lambda page, query: load(page, page_process.url + query), permissions=allowed
    ) as open_at:
        yield open_at


def load(page: Page, url: str) -> None:
    """Open the page; once more if a network of this machine changed while it was loading."""
    broken: list[str] = []
    page.on("requestfailed", lambda request: broken.append(request.failure or ""))
    for _ in range(3):
        broken.clear()
        deadline = time.monotonic() + WAIT_MS / 1000
        with suppress(Error):
            page.goto(url)
        while not any("NETWORK_CHANGED" in failure for failure in broken):
            if page.locator(".zone h1, .job h1").first.is_visible():
                return
            assert time.monotonic() < deadline, "the page did not appear"
            page.wait_for_timeout(50)
    pytest.fail("the network of this machine kept changing while the page was loading")


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("[data-testid=file-input]").set_input_files(
        [{"name": name, "mimeType": "audio/wav", "buffer": content} for name, content in files]
    )


def play_slowly(page: Page) -> None:
    """So that a busy machine sees where the recording is before it is elsewhere."""
    page.locator("audio").evaluate("audio => audio.defaultPlaybackRate = audio.playbackRate = 0.1")


def played_s(page: Page) -> float:
    return float(page.locator("audio").evaluate("audio => audio.currentTime"))


def test_dropped_recording_becomes_text_one_can_listen_to(
    open_page: Open, backend: FakeBackend
) -> None:
    content = wav_file(len(PHRASES) * 4)
    backend.faults.break_uploads_at = [300_000, 700_000]
    page = open_page()
    drop(page, (HOSTILE_NAME, content))

    expect(page.locator(".job h1")).to_have_text(HOSTILE_NAME)
    expect(page.locator(".line")).to_have_count(len(PHRASES))
    assert page.locator(".said").all_inner_texts() == list(PHRASES)
    assert [bytes(upload.content) for upload in backend.uploads.values()] == [content]
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "hacked"

    expect(page.locator(".lane.before .num")).to_contain_text("LUFS")
    expect(page.locator(".unsure")).to_have_text("Кравец")
    play_slowly(page)
    page.locator(".stamp").nth(3).click()
    expect(page.locator(".line.now .said")).to_have_text(PHRASES[3])
    assert 12 <= played_s(page) < 14
    page.get_by_role("button", name=RU["player.pause"]).click()
    page.locator(".word", has_text="вторника").click()
    expect(page.locator(".word.now")).to_have_text("вторника.")
    page.locator(".waves").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".line.now .said")).to_have_text(PHRASES[3])


def test_text_can_be_taken_away(open_page: Open, backend: FakeBackend) -> None:
    job = backend.jobs.add("запись.wav", wav_file(9))
    page = open_page(f"/?job={job.id}")
    expect(page.locator(".line")).to_have_count(2)
    page.locator(".exports > button").click()
    expect(page.locator(".exports [aria-live]")).to_have_text(RU["export.copied"])
    assert page.evaluate("navigator.clipboard.readText()") == " ".join(PHRASES[:2])
    for kind in ("txt", "srt", "vtt", "tsv", "json", "verbose_json"):
        page.locator(".menu summary").click()
        with page.expect_download() as download:
            page.locator(f"[data-format={kind}]").click()
        assert PHRASES[1] in Path(download.value.path()).read_text("utf-8")
        page.keyboard.press("Escape")
    page.get_by_role("button", name=RU["text.as_text"]).click()
    expect(page.locator(".stamp").first).to_be_hidden()


def test_several_files_are_listed_searched_opened_and_deleted(
    open_page: Open, backend: FakeBackend
) -> None:
    page = open_page()
    drop(page, ("первая.wav", wav_file(5)), ("вторая.wav", wav_file(21)), ("нет.wav", b"no sound"))
    entries = page.locator("button.entry")
    expect(entries).to_have_count(3)
    expect(page.locator("button.entry .bad")).to_have_text(RU["error.undecodable_audio"])
    until(lambda: all(job.view.status.final for job in backend.jobs.jobs.values()))
    page.locator("input[type=search]").fill("КРАВЕЦ")  # said in the second one only
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("вторая.wav")
    page.locator("input[type=search]").fill("ничего такого")
    expect(page.locator(".empty")).to_contain_text("ничего такого")
    page.locator("input[type=search]").fill("")
    expect(entries).to_have_count(3)

    page.locator("button.entry", has_text="нет.wav").click()
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.undecodable_audio.hint"])
    page.get_by_role("button", name=RU["action.delete"]).click()
    page.get_by_role("button", name=RU["delete.keep"]).click()
    page.get_by_role("button", name=RU["action.delete"]).click()
    page.locator("dialog").get_by_role("button", name=RU["delete.confirm"]).click()
    expect(entries).to_have_count(2)
    expect(page.get_by_text(RU["delete.done"])).to_be_visible()
    assert len(backend.jobs.jobs) == 2


def test_search_is_still_there_on_the_way_back(open_page: Open, backend: FakeBackend) -> None:
    for seconds, name in ((5, "первая.wav"), (21, "вторая.wav")):
        backend.jobs.add(name, wav_file(seconds))
    until(lambda: all(job.view.status.final for job in backend.jobs.jobs.values()))
    page = open_page()
    entries = page.locator("button.entry")
    expect(entries).to_have_count(2)
    page.locator("input[type=search]").fill("кравец")
    expect(entries).to_have_count(1)
    entries.click()
    go_back(page)
    expect(entries).to_have_count(1)
    expect(page.locator("input[type=search]")).to_have_value("кравец")
    page.locator("input[type=search]").fill("")
    expect(entries).to_have_count(2)


def test_a_search_that_the_page_lost_is_sent_again(browser: Browser) -> None:
    assets = Path(stenograf.frontend.__file__).parent / "assets"
    scripts = [(assets / name).read_text("utf-8") for name in ("base.js", "history.js")]
    page = browser.new_page()
    page.add_script_tag(
        content="\n;\n".join(scripts).replace("export default function", "function mount")
    )
    page.evaluate("""() => {
        window.sent = [];
        const data = {jobs: [], has_more: false, query: "", language: "ru", strings: {}};
        const view = new HistoryView(document.body, null);
        const lossy = (name, value) => {
            sent.push([name, value]);
            if (sent.length > 1) view.update({...data, query: value}, lossy);
        };
        view.update(data, lossy);
        view.field.value = "кравец";
        view.field.dispatchEvent(new Event("input"));
    }""")
    page.wait_for_function("sent.length > 1")
    page.wait_for_timeout(4000)  # and no more, now that it was answered
    assert page.evaluate("sent") == [["search", "кравец"]] * 2


def test_long_history_comes_in_pages(open_page: Open, backend: FakeBackend) -> None:
    for number in range(45):
        backend.jobs.add(f"запись {number}.wav", b"", run=False)
    page = open_page()
    entries = page.locator("button.entry")
    for shown in (20, 40, 45):
        expect(entries).to_have_count(shown)
        if shown < 45:
            page.get_by_role("button", name=RU["history.more"]).click()
    expect(page.get_by_role("button", name=RU["history.more"])).to_be_hidden()
    names = page.locator("button.entry .name").all_inner_texts()
    assert names == [f"запись {number}.wav" for number in range(44, -1, -1)]


def test_stopped_and_failed_recordings_go_on(open_page: Open, backend: FakeBackend) -> None:
    backend.jobs.hold_at = 2
    job = backend.jobs.add("длинная.wav", wav_file(40))
    page = open_page(f"/?job={job.id}")
    page.locator(".line").first.wait_for()
    page.get_by_role("button", name=RU["action.cancel"]).click()
    expect(page.get_by_text(RU["status.cancelled"])).to_be_visible()
    assert backend.jobs.get(job.id).view.status is JobStatus.CANCELLED
    kept = page.locator(".line").count()
    assert kept >= 1

    backend.jobs.hold_at = None
    backend.jobs.get(job.id).error = OutOfResources("No memory left")
    page.get_by_role("button", name=RU["action.continue"]).click()
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.out_of_resources"])
    page.get_by_role("button", name=RU["action.retry"]).click()
    expect(page.locator(".line")).to_have_count(10)
    expect(page.locator(".working")).to_be_hidden()


def test_upload_outlives_other_views_a_pause_and_a_reload(
    open_page: Open, backend: FakeBackend, tmp_path: Path
) -> None:
    content = wav_file(1000)  # 32 MB
    lecture = tmp_path / "лекция.wav"
    lecture.write_bytes(content)
    backend.faults.bytes_per_s = 1e6
    other = backend.jobs.add("другая.wav", wav_file(5))
    page = open_page()
    page.locator("[data-testid=file-input]").set_input_files(lecture)
    expect(page.locator(".upload .num")).to_contain_text(re.compile("[КМ]Б/с"))
    page.locator("button.entry", has_text=other.title).click()
    expect(page.locator(".job h1")).to_have_text("другая.wav")
    expect(page.locator(".upload")).to_contain_text("лекция.wav")
    page.get_by_role("button", name=RU["uploader.pause"]).click()
    expect(page.locator(".upload .num")).to_contain_text(RU["upload.paused"])
    assert len(next(iter(backend.uploads.values())).content) < len(content)

    backend.faults.bytes_per_s = 0
    page.once("dialog", lambda dialog: dialog.accept())
    load(page, page.url.split("?")[0])
    expect(page.locator(".notice")).to_contain_text("лекция.wav")
    page.locator("[data-testid=file-input]").set_input_files(lecture)
    expect(page.locator(".job h1")).to_have_text("лекция.wav")
    assert [bytes(upload.content) for upload in backend.uploads.values()] == [content]


def test_lost_connection_is_told_while_it_is_tried_again(
    open_page: Open, backend: FakeBackend
) -> None:
    content = wav_file(5)
    page = open_page()
    page.route("**/files*", lambda route: route.abort())
    drop(page, ("запись.wav", content))
    expect(page.locator(".upload .num")).to_contain_text(RU["upload.offline"])
    assert page.get_by_role("button", name=RU["uploader.pause"]).is_visible()
    page.unroute("**/files*")
    expect(page.locator(".job h1")).to_have_text("запись.wav")
    assert [bytes(upload.content) for upload in backend.uploads.values()] == [content]


def test_full_queue_only_delays(open_page: Open, backend: FakeBackend) -> None:
    backend.faults.refuse_jobs = 10**6
    page = open_page()
    drop(page, ("запись.wav", wav_file(5)))
    expect(page.locator(".upload .problem")).to_contain_text(RU["error.overloaded"])
    backend.faults.refuse_jobs = 0
    expect(page.locator(".job h1")).to_have_text("запись.wav")
    assert backend.requests.count("POST /files") == 1


def test_refused_and_empty_files_are_explained(open_page: Open, backend: FakeBackend) -> None:
    backend.faults.max_bytes = 1000
    page = open_page()
    drop(page, ("большая.wav", wav_file(1)), ("пустая.wav", b""))
    problems = page.locator(".upload .problem")
    expect(problems.nth(0)).to_contain_text(RU["error.too_large.hint"])
    expect(problems.nth(1)).to_contain_text(RU["error.empty_file.hint"])
    for close in page.get_by_role("button", name=RU["uploader.cancel"]).all()[::-1]:
        close.click()
    expect(page.locator(".upload")).to_have_count(0)


def test_silence_gives_a_reason_and_no_text(open_page: Open, backend: FakeBackend) -> None:
    job = backend.jobs.add("тишина.wav", wav_file(5, amplitude=0))
    page = open_page(f"/?job={job.id}")
    expect(page.locator(".job .notice:visible")).to_contain_text(RU["warning.no_speech"])
    expect(page.locator(".line")).to_have_count(0)


def test_what_was_removed_can_be_looked_up(open_page: Open, backend: FakeBackend) -> None:
    job = backend.jobs.add("запись.wav", wav_file(9), run=False)
    fake = backend.jobs.get(job.id)
    invented = "Субтитры <b>сделал</b> кто-то"
    fake.removed = (
        Warning(
            code="credits_removed", message="Removed.", start=80_000, end=90_000, text=invented
        ),
    )
    backend.jobs.start(fake)
    page = open_page(f"/?job={job.id}")
    page.get_by_text(RU["text.removed"].format(count=1)).click()
    expect(page.locator(".removed li")).to_contain_text(invented)
    play_slowly(page)
    page.locator(".removed .stamp").click()
    expect(page.locator(".line.now")).to_have_count(1)
    assert 5 <= played_s(page) < 7


def test_link_to_nowhere_has_a_way_out(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/?job=..%2F..%2Fready")
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.not_found"])
    page.locator(".job [role=alert] button").click()
    expect(page.locator(".zone:visible")).to_have_count(1)


def test_microphone_is_one_more_source(open_page: Open, backend: FakeBackend) -> None:
    page = open_page()
    page.get_by_role("button", name=RU["uploader.record"]).click()
    expect(page.locator(".zone .time")).to_have_text(re.compile(r"^0:(0[2-9]|[1-5]\d)$"))
    page.get_by_role("button", name=RU["uploader.finish"]).click()
    expect(page.locator(".job h1")).to_contain_text(RU["uploader.recording_name"])
    [upload] = backend.uploads.values()
    assert upload.content[:4] == b"\x1a\x45\xdf\xa3"  # EBML: a WebM file
    assert upload.filename.endswith(".webm")


def test_recording_outlives_its_page(open_page: Open, backend: FakeBackend) -> None:
    page = open_page()
    page.get_by_role("button", name=RU["uploader.record"]).click()
    expect(page.locator(".zone .time")).to_have_text(re.compile(r"^0:(0[3-9]|[1-5]\d)$"))
    page.once("dialog", lambda dialog: dialog.accept())
    load(page, page.url)
    page.get_by_role("button", name=RU["uploader.send"]).click()
    expect(page.locator(".job h1")).to_contain_text(RU["uploader.recording_name"])
    [upload] = backend.uploads.values()
    assert upload.content[:4] == b"\x1a\x45\xdf\xa3"
    go_back(page)
    page.locator("button.entry").wait_for()
    expect(page.get_by_role("button", name=RU["uploader.send"])).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_never_scrolls_sideways(
    open_page: Open, backend: FakeBackend, scheme: str
) -> None:
    name = "Очень_длинное_имя_файла_без_единого_пробела_" * 4 + ".wav"
    job = backend.jobs.add(name, wav_file(9))
    page = open_page(f"/?job={job.id}", width=380, locale="en-US", color_scheme=scheme)
    expect(page.locator(".line")).to_have_count(2)
    width = "document.scrollingElement.scrollWidth"
    assert page.evaluate(width) == 380
    assert page.evaluate("document.documentElement.lang") == "en"
    go_back(page)
    expect(page.locator(".zone h1")).to_have_text(catalogue("en")["uploader.title"])
    expect(page.locator("button.entry")).to_have_count(1)
    assert page.evaluate(width) == 380
    outside = """() => [...document.querySelectorAll('.stMain :not(input)')]
        .filter((element) => element.getBoundingClientRect().right > 381)
        .map((element) => element.outerHTML.slice(0, 200))"""
    assert page.evaluate(outside) == []


def test_frame_of_streamlit_is_not_seen(open_page: Open, page_process: RunningPage) -> None:
    page = open_page()
    for part in ("stHeader", "stToolbar", "stAppDeployButton", "stDecoration"):
        expect(page.get_by_test_id(part)).to_be_hidden()
    assert requests.get(f"{page_process.url}/app/static/icon.svg", timeout=60).ok


def test_page_asks_nobody_outside(open_page: Open, backend: FakeBackend, browser: Browser) -> None:
    page = open_page()
    hosts = page.evaluate(
        "performance.getEntriesByType('resource').map(entry => new URL(entry.name).hostname)"
    )
    assert set(hosts) - {""} == {"127.0.0.1"}
