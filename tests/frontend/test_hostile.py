"""Hostile words, and recordings and servers that vanish under an open page."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from stenograf.contract.transcript import Segment, Warning
from stenograf.frontend.i18n import catalogue

from ..servers import frontend_process
from ..waiting import until
from .conftest import WAIT_MS, Open, RunningPage, tabs, wav_file
from .fake_backend import FakeBackend
from .fake_jobs import PHRASES

pytestmark = pytest.mark.browser

RU = catalogue("ru")
HOSTILE = (
    "<script>document.title='hacked'</script>",
    "<img src=x onerror=\"document.title='hacked'\">",
    "**жирно** [ссылка](https://evil.example) ![](https://evil.example/x.png) $x^2$ :smile: `код`",
    "Щ" * 3000,
    "\u202eвав.exe",
    "раз\x00два\nтри\r\n\r\nчетыре",
    "Z" + "\u0335\u0489" * 300,
    "{query}{name}{time}$&",
)
OUTSIDE = """() => {
    const inside = (root) => [...root.querySelectorAll('*')].flatMap(
        (element) => [element, ...(element.shadowRoot ? inside(element.shadowRoot) : [])]);
    return inside(document.querySelector('.stMain'))
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
        .filter((e) => e.tagName !== 'INPUT' && !e.closest('.visually-hidden'))
        .map((e) => e.outerHTML.slice(0, 200));
}"""


@pytest.fixture
def backend(page_backend: FakeBackend) -> FakeBackend:
    return page_backend


@pytest.fixture
def open_page(browser: Browser, page_process: RunningPage) -> Iterator[Open]:
    with tabs(browser, lambda page, query: page.goto(page_process.url + query)) as open_at:
        yield open_at


def finished(backend: FakeBackend, name: str, seconds: float = 9, **more: Any) -> str:
    """The id of a recording whose text is there."""
    job_id = backend.jobs.add(name, wav_file(seconds), **more).id
    until(lambda: backend.jobs.get(job_id).view.status.final)
    return job_id


def half_read(backend: FakeBackend, open_page: Open) -> tuple[str, Page]:
    """A recording that stops after its first line, and the page that shows it."""
    backend.jobs.hold_at = 1
    job_id = backend.jobs.add("запись.wav", wav_file(20)).id
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(1)
    return job_id, page


def show(page: Page, visible: bool) -> None:
    """What a browser says to a tab that is looked at, or not any more."""
    page.evaluate(
        """(visible) => {
            Object.defineProperty(document, 'hidden', {value: !visible, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        visible,
    )


def unharmed(page: Page) -> None:
    """Nothing ran, nothing was made of the words, nothing stands out of the window."""
    assert page.title() == RU["page.title"]
    assert page.locator("img[src=x], a[href*=evil]").count() == 0
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [380, 1280])
def test_hostile_words_are_only_words(open_page: Open, backend: FakeBackend, width: int) -> None:
    for name in HOSTILE[1:]:
        finished(backend, name[:240])
    job_id = finished(backend, "x.wav", title=HOSTILE[0])
    job = backend.jobs.get(job_id)
    segments = tuple(
        Segment(text=f" {text}", start=n * 8000, end=n * 8000 + 8000, speaker=text)
        for n, text in enumerate(HOSTILE)
    )
    job.windows = [job.windows[0].model_copy(update={"segments": segments})]
    job.removed = tuple(
        Warning(code="credits_removed", message=text, start=0, end=1, text=text) for text in HOSTILE
    )
    job.put(text_preview=HOSTILE[1])
    page = open_page(width=width)
    expect(page.locator("button.entry")).to_have_count(len(HOSTILE))
    expect(page.locator("button.entry .name").first).to_have_text(HOSTILE[0])
    names = "".join(page.locator("button.entry .name").all_text_contents())
    assert re.search("[\u202e\x00\n]", names) is None
    unharmed(page)
    page.locator("input[type=search]").fill("Ж" * 200)
    expect(page.locator(".empty")).to_contain_text("ЖЖЖ")
    unharmed(page)

    page.goto(f"{page.url.split('?')[0]}?job={job_id}")
    expect(page.locator(".line")).to_have_count(len(HOSTILE))
    page.locator(".removed summary").click()
    expect(page.locator(".removed li")).to_have_count(len(HOSTILE))
    unharmed(page)
    page.get_by_role("button", name=RU["text.as_text"]).click()
    unharmed(page)


def test_a_long_name_leaves_room_for_the_text(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "W" * 240 + ".wav")
    page = open_page(f"/?job={job_id}", width=380)
    expect(page.locator(".line")).to_have_count(2)
    box = page.locator(".job h1").bounding_box()
    assert box is not None
    assert box["height"] < 120
    assert page.locator(".job h1").get_attribute("title") == "W" * 240 + ".wav"


def test_a_blank_title_gives_way_to_the_files_name(open_page: Open, backend: FakeBackend) -> None:
    finished(backend, "запись.wav", title=" \u202e ")
    page = open_page()
    expect(page.locator("button.entry .name")).to_have_text("запись.wav")


def test_a_download_that_fails_is_said_on_the_page(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(2)
    del backend.jobs.jobs[job_id]
    page.locator(".menu summary").click()
    page.locator("[data-format=srt]").click()
    expect(page.locator(".formats [role=alert]")).to_contain_text(RU["error.not_found"])
    page.route("**/transcript*", lambda route: route.abort())
    page.locator("[data-format=srt]").click()
    expect(page.locator(".formats [role=alert]")).to_have_count(1)
    expect(page.locator(".formats [role=alert]")).to_contain_text(RU["error.unavailable"])
    expect(page.locator(".line")).to_have_count(2)


def test_a_downloaded_file_has_the_name_the_server_gave(
    open_page: Open, backend: FakeBackend
) -> None:
    job_id = finished(backend, "запись.wav")
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(2)

    def named(route: Route) -> None:
        answer = route.fetch()
        given = "attachment; filename=\"x.txt\"; filename*=UTF-8''%D0%B8%D0%BC%D1%8F%2F..%2Fa.txt"
        exposed = f"{answer.headers['access-control-expose-headers']}, Content-Disposition"
        headers = {"content-disposition": given, "access-control-expose-headers": exposed}
        route.fulfill(response=answer, headers={**answer.headers, **headers})

    page.route("**/transcript*", named)
    page.locator(".menu summary").click()
    with page.expect_download() as download:
        page.locator("[data-format=txt]").click()
    assert re.fullmatch(r"имя[^/\\]*a\.txt", download.value.suggested_filename)


def test_a_recording_deleted_elsewhere_is_noticed(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(2)
    show(page, False)
    del backend.jobs.jobs[job_id]
    show(page, True)
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.not_found"])
    expect(page.locator(".line .said").first).to_have_text(PHRASES[0])  # still there to be copied
    for part in (".dock", ".job .head .icon"):
        expect(page.locator(part)).to_be_hidden()


def test_a_running_recording_deleted_elsewhere_is_not_a_lost_connection(
    open_page: Open, backend: FakeBackend
) -> None:
    job_id, page = half_read(backend, open_page)
    said = page.get_by_text(RU["status.offline"])
    del backend.jobs.jobs[job_id]
    expect(page.locator(".job [role=alert]").or_(said)).to_be_visible()
    expect(said).to_be_hidden()
    expect(page.locator(".job [role=alert]")).to_contain_text(RU["error.not_found"])
    expect(page.locator(".line")).to_have_count(1)


def test_deleting_what_is_deleted_is_done(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(2)
    del backend.jobs.jobs[job_id]
    page.get_by_role("button", name=RU["action.delete"]).click()
    page.locator("dialog").get_by_role("button", name=RU["delete.confirm"]).click()
    expect(page.get_by_text(RU["delete.done"])).to_be_visible()
    expect(page.locator(".zone:visible")).to_have_count(1)


@pytest.mark.slow
def test_a_tab_nobody_looks_at_lets_go_of_its_connection(
    open_page: Open, backend: FakeBackend
) -> None:
    job_id, page = half_read(backend, open_page)
    show(page, False)
    page.wait_for_timeout(11_000)
    backend.jobs.hold_at = None
    until(lambda: backend.jobs.get(job_id).view.status.final)
    page.wait_for_timeout(1000)
    assert page.locator(".line").count() == 1
    show(page, True)
    expect(page.locator(".line")).to_have_count(5)
    expect(page.locator(".working")).to_be_hidden()


@pytest.mark.slow
def test_sound_comes_back_with_its_server(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    page = open_page("")
    page.route("**/audio", lambda route: route.abort())
    page.goto(f"{page.url.split('?')[0]}?job={job_id}")
    expect(page.get_by_text(RU["player.offline"])).to_be_visible()
    page.unroute("**/audio")
    expect(page.locator(".controls .primary")).to_be_visible()
    expect(page.get_by_text(RU["player.offline"])).to_be_hidden()


@pytest.mark.slow
def test_an_upload_the_server_has_lost_begins_anew(open_page: Open, backend: FakeBackend) -> None:
    content = wav_file(200)  # 6.4 MB
    backend.faults.bytes_per_s = 2e6
    page = open_page()
    page.locator("[data-testid=file-input]").set_input_files(
        [{"name": "запись.wav", "mimeType": "audio/wav", "buffer": content}]
    )
    until(lambda: any(upload.content for upload in backend.uploads.values()))
    page.get_by_role("button", name=RU["uploader.pause"]).click()
    backend.uploads.clear()
    backend.faults.bytes_per_s = 0
    page.get_by_role("button", name=RU["uploader.resume"]).click()
    expect(page.locator(".job h1")).to_have_text("запись.wav")
    assert [bytes(upload.content) for upload in backend.uploads.values()] == [content]


@pytest.mark.slow
def test_a_list_that_cannot_be_read_is_explained(open_page: Open, backend: FakeBackend) -> None:
    backend.list_fails = True
    page = open_page()
    expect(page.locator(".sg-bad")).to_contain_text(RU["error.internal"])
    asked = backend.requests.count("GET /v1/jobs")
    page.wait_for_timeout(6000)
    assert backend.requests.count("GET /v1/jobs") - asked < 20
    backend.list_fails = False
    expect(page.locator(".history:visible")).to_have_count(1)
    expect(page.locator(".sg-bad")).to_have_count(0)


@pytest.mark.slow
def test_half_written_wishes_outlive_the_page(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    able = json.dumps({"text": {"configured": True}})
    page = open_page("")

    def answer(body: str) -> Callable[[Route], None]:
        headers = {
            "Access-Control-Allow-Origin": page.url.split("/?")[0].rstrip("/"),
            "Access-Control-Allow-Credentials": "true",
        }
        return lambda route: route.fulfill(
            body=body, headers=headers, content_type="application/json"
        )

    page.route("**/v1/capabilities", answer(able))
    page.route("**/v1/jobs/*/text", answer('{"data": []}'))
    page.goto(f"{page.url.split('?')[0]}?job={job_id}")
    page.get_by_role("button", name=RU["texts.instruction"]).click()
    page.get_by_label(RU["texts.instruction.label"]).fill("Выпиши решения")
    page.reload()
    expect(page.get_by_label(RU["texts.instruction.label"])).to_have_value("Выпиши решения")


def test_text_of_windows_that_became_void_goes_away(open_page: Open, backend: FakeBackend) -> None:
    backend.jobs.hold_at = 3
    job_id = backend.jobs.add("запись.wav", wav_file(20)).id
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(3)
    job = backend.jobs.get(job_id)
    with job.changed:
        job.windows, job.cut = job.windows[:1], 1
        job.changed.notify_all()
    expect(page.locator(".line")).to_have_count(1)
    expect(page.locator(".said")).to_have_text(PHRASES[0])


@pytest.mark.parametrize("width", [380, 1280])
def test_running_text_is_in_paragraphs(open_page: Open, backend: FakeBackend, width: int) -> None:
    job_id = finished(backend, "запись.wav", 80)  # one endless paragraph takes seconds to lay out
    page = open_page(f"/?job={job_id}", width=width)
    expect(page.locator(".line")).to_have_count(20)
    page.get_by_role("button", name=RU["text.as_text"]).click()
    expect(page.locator(".paragraph")).to_have_count(3)
    heights = page.locator(".paragraph").evaluate_all("all => all.map(one => one.clientHeight)")
    assert min(heights) > 0
    said = " ".join(page.locator(".said").all_inner_texts())
    assert said == " ".join((PHRASES * 3)[:20])
    gaps = page.locator(".paragraph").first.evaluate(
        """(paragraph) => [...paragraph.querySelectorAll('.word')].map(
            (word) => word.getBoundingClientRect()).flatMap((box, index, all) => index
            && Math.abs(all[index - 1].top - box.top) < 2
            ? [box.left - all[index - 1].right] : [])"""
    )
    assert min(gaps) > 2  # no word touches another


@pytest.mark.slow
def test_a_key_that_changed_is_asked_for_and_nothing_is_lost(
    open_page: Open, backend: FakeBackend
) -> None:
    job_id, reader = half_read(backend, open_page)
    sender = open_page()
    sender.route("**/v1/jobs", lambda route: route.abort())
    sender.locator("[data-testid=file-input]").set_input_files(
        [{"name": "новая.wav", "mimeType": "audio/wav", "buffer": wav_file(5)}]
    )
    expect(sender.locator(".upload .num")).to_contain_text(RU["upload.posting"])

    backend.locked = True
    del backend.jobs.jobs[job_id]  # ends the stream of its events
    sender.unroute("**/v1/jobs")
    for page in (reader, sender):
        expect(page.locator("form h1")).to_have_text(RU["sign_in.title"])
    backend.locked = False
    show(sender, True)
    expect(sender.locator(".zone:visible")).to_have_count(1)
    until(lambda: [job.view.title for job in backend.jobs.jobs.values()] == ["новая.wav"])


@pytest.mark.slow
def test_a_page_that_lost_its_server_says_so_in_the_readers_language(
    browser: Browser, backend: FakeBackend, tmp_path: Path
) -> None:
    job_id = finished(backend, "запись.wav")
    said = f'"{RU["page.away"]}"'
    words = "(of) => getComputedStyle(of, '::after').content"
    with frontend_process(tmp_path, backend.url) as process:
        context = browser.new_context(locale="ru-RU")
        page = context.new_page()
        page.goto(f"{process.url}?job={job_id}")
        expect(page.locator(".line")).to_have_count(2, timeout=WAIT_MS)
        app = page.get_by_test_id("stApp")
        assert app.evaluate(words) == "none"
        process.kill()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_have_count(1, timeout=WAIT_MS)
        assert said in dialog.locator("div div").evaluate_all(f"all => all.map({words})")
        assert dialog.locator("h2").evaluate("e => getComputedStyle(e).fontSize") == "0px"
        dialog.get_by_role("button").click()
        until(lambda: app.evaluate(words) == said)
        expect(page.locator(".line")).to_have_count(2)
        process.start()
        until(lambda: app.evaluate(words) == "none")
        context.close()


def test_another_language_keeps_the_place(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav", 40)
    page = open_page(f"/?job={job_id}")
    page.locator("audio").evaluate("audio => audio.defaultPlaybackRate = audio.playbackRate = 0.1")
    page.locator(".stamp").nth(3).click()
    expect(page.locator(".line.now .said")).to_have_text(PHRASES[3])
    page.get_by_role("button", name=RU["text.as_text"]).click()
    page.get_by_text("EN", exact=True).click()
    english = catalogue("en")
    expect(page.get_by_role("button", name=english["text.as_text"], pressed=True)).to_be_visible()
    expect(page.locator(".line.now .said")).to_have_text(PHRASES[3])
    expect(page.get_by_role("button", name=english["player.pause"])).to_be_visible()


def test_many_uploads_leave_room_for_what_is_read(open_page: Open, backend: FakeBackend) -> None:
    job_id = finished(backend, "запись.wav")
    backend.faults.max_bytes = 10  # every one of them is refused and stays in the list
    page = open_page()
    page.locator("[data-testid=file-input]").set_input_files(
        [{"name": f"{n}.wav", "mimeType": "audio/wav", "buffer": wav_file(1)} for n in range(15)]
    )
    expect(page.locator(".upload .problem:visible")).to_have_count(15)
    page.locator(f"button.entry[data-id='{job_id}']").click()
    expect(page.locator(".line")).to_have_count(2)
    expect(page.locator(".uploader.compact .upload")).to_have_count(15)
    box = page.locator(".uploader.compact").bounding_box()
    assert box is not None
    assert box["height"] < 450


def test_sound_that_does_not_come_is_said_to_be_on_its_way(
    open_page: Open, backend: FakeBackend
) -> None:
    job_id = finished(backend, "запись.wav", 40)
    page = open_page(f"/?job={job_id}")
    expect(page.locator(".line")).to_have_count(10)
    for event, seen in (("waiting", True), ("playing", False)):
        page.locator("audio").dispatch_event(event)
        expect(page.get_by_text(RU["player.waiting"])).to_be_visible(visible=seen)
        expect(page.locator(".controls .primary")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["text.by_phrase", "text.as_text"])
def test_the_line_one_hears_is_in_view_wherever_it_is(
    open_page: Open, backend: FakeBackend, layout: str
) -> None:
    backend.jobs.pace_s = 0.001
    job_id = finished(backend, "запись.wav", 1600)
    page = open_page(f"/?job={job_id}", width=380)
    expect(page.locator(".line")).to_have_count(400)
    page.get_by_role("button", name=RU[layout]).click()
    page.locator("audio").evaluate("audio => audio.defaultPlaybackRate = audio.playbackRate = 0.1")
    page.get_by_role("button", name=RU["player.play"], exact=True).click()
    for share in (0.9, 0.05, 0.5):
        page.evaluate("document.querySelector('.stMain').scrollTo(0, 0)")
        waves = page.locator(".lane.before canvas")
        box = waves.bounding_box()
        assert box is not None
        waves.click(position={"x": share * box["width"], "y": 10})
        heard = page.locator(".line.now")
        expect(heard.locator(".stamp")).to_have_attribute("data-start", re.compile(r"\d"))
        expect(heard).to_be_in_viewport()
        start_s = float(heard.locator(".stamp").get_attribute("data-start") or 0)
        assert abs(start_s - share * 1600) < 30
