"""A language model on the page: real backend, real recognized text, a chat server on a leash."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from stenograf.frontend.i18n import catalogue

from ..backend.chat_server import Chat, ChatServer, Said
from ..servers import SAMPLES, Process, backend_process, free_port, frontend_process

pytestmark = pytest.mark.browser

RU = catalogue("ru")
WAIT_MS = 60_000
EXTENSION = SAMPLES / "extension_ru.flac"

Open = Callable[[str, Path], Page]


@contextmanager
def serving(folder: Path, llm: Process, **settings: str) -> Iterator[str]:
    """The address of a page before a backend of its own."""
    port = str(free_port())
    origin = f"http://127.0.0.1:{port}"
    with (
        backend_process(folder, llm.url, CORS_ORIGINS=origin, **settings) as backend,
        frontend_process(folder, backend.url, FRONTEND_PORT=port) as page,
    ):
        yield page.url


@pytest.fixture(scope="module")
def talker() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process, talker: ChatServer
) -> Iterator[str]:
    """A page whose backend has a language model."""
    settings = {"TEXT_LLM_URL": talker.url, "RETRY_SCALE": "0.001"}
    with serving(tmp_path_factory.mktemp("page"), embedded_llm, **settings) as address:
        yield address


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page and drops a recording on it; returns when that is recognized."""
    broken: list[str] = []
    with ExitStack() as stack:

        def open_at(url: str, sound: Path) -> Page:
            context = browser.new_context(
                locale="ru-RU",
                viewport={"width": 1280, "height": 900},
                permissions=["clipboard-read", "clipboard-write"],
            )
            page = stack.enter_context(context).new_page()
            page.on("pageerror", lambda error: broken.append(str(error)))
            page.set_default_timeout(WAIT_MS)
            expect.set_options(timeout=WAIT_MS)
            page.goto(url)
            page.locator("[data-testid=file-input]").set_input_files(sound)
            expect(page.locator(".lines .said").first).to_be_visible()
            expect(page.locator(".working")).to_be_hidden()
            return page

        yield open_at
    assert broken == []


def answer(page: Page, task: str) -> Page:
    """The card of one task's answer."""
    return page.locator(f".answer[data-task={task}]")  # type: ignore[return-value]


def test_summary_instruction_and_punctuation_from_the_page(
    open_page: Open, url: str, talker: ChatServer
) -> None:
    go_on = threading.Event()

    def reply(asked: Chat) -> Said:
        if "знаки препинания" in asked.user:
            return Said(", ".join(asked.text.title().split()) + "!")
        if "Дай номер" in asked.user:
            go_on.wait(90)
            return Said("65031 <b>не жирный</b>\nвторая строка", pace_s=0.2)
        return Said(status=500)

    talker.answer = reply
    page = open_page(url, EXTENSION)
    texts = page.locator(".texts")
    expect(texts.get_by_text(RU["texts.where"])).to_be_visible()
    heard = page.locator(".lines .said").all_inner_texts()

    page.get_by_role("button", name=RU["texts.instruction"]).click()
    page.get_by_label(RU["texts.instruction.label"]).fill("Дай номер")
    page.get_by_role("button", name=RU["texts.send"]).click()
    card = answer(page, "instruction")
    expect(card.get_by_text(RU["texts.working"])).to_be_visible()
    go_on.set()
    expect(card.locator(".said")).to_have_text("65031 <b>не жирный</b> вторая строка")
    expect(card.get_by_text(RU["texts.working"])).to_be_hidden()
    card.get_by_role("button", name=RU["export.copy"]).click()
    expect(card.get_by_text(RU["export.copied"])).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "65031 <b>не жирный</b>\nвторая строка"

    page.get_by_role("button", name=RU["texts.summary"]).click()
    card = answer(page, "summary")
    expect(card.get_by_text(RU["error.text_service_unavailable"], exact=True)).to_be_visible()
    expect(card.locator(".notice.bad")).to_be_visible()
    talker.answer = lambda _: Said("Назван внутренний номер.")
    card.get_by_role("button", name=RU["texts.again"]).click()
    expect(card.locator(".said")).to_have_text("Назван внутренний номер.")

    talker.answer = reply
    page.get_by_role("button", name=RU["texts.punctuation"]).click()
    card = answer(page, "punctuation")
    card.get_by_role("button", name=RU["texts.apply"]).click()
    spelled = page.locator(".lines .said").first
    expect(spelled).to_contain_text(", ")
    assert page.locator(".lines .said").all_inner_texts() != heard
    card.get_by_role("button", name=RU["texts.unapply"]).click()
    expect(spelled).to_have_text(heard[0])

    page.reload()
    expect(page.locator(".answer")).to_have_count(3)
    expect(answer(page, "summary").locator(".said")).to_have_text("Назван внутренний номер.")


def test_a_page_without_a_language_model_says_nothing_of_it(
    open_page: Open, tmp_path: Path, embedded_llm: Process
) -> None:
    with serving(tmp_path, embedded_llm) as url:
        page = open_page(url, EXTENSION)
        page.wait_for_timeout(1500)
        expect(page.locator(".texts")).to_be_hidden()


def test_stopping_a_slow_model_from_the_page(open_page: Open, url: str, talker: ChatServer) -> None:
    talker.answer = lambda _: Said("слово " * 300, pace_s=0.2)
    page = open_page(url, SAMPLES / "balance_ru.flac")
    page.get_by_role("button", name=RU["texts.summary"]).click()
    card = answer(page, "summary")
    expect(card.locator(".said")).to_contain_text("слово слово")
    card.get_by_role("button", name=RU["texts.cancel"]).click()
    expect(card.get_by_text(RU["texts.cancelled"])).to_be_visible()
    expect(card.get_by_role("button", name=RU["texts.again"])).to_be_visible()
