"""A fake backend, the page before it as a process, and recordings to drop."""

import io
import shutil
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, TimeoutError, expect, sync_playwright

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.frontend.i18n import catalogue

from ..servers import frontend_process
from .fake_backend import FakeBackend, Faults

Open = Callable[..., Page]
WAIT_MS = 60_000
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def wav_file(seconds: float, *, amplitude: float = 0.3) -> bytes:
    """A 16-bit WAV with a tone that swells and fades; silent at amplitude 0."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = amplitude * np.sin(2 * np.pi * 220 * time_s) * np.abs(np.sin(time_s))
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((tone * 32767).astype("<i2").tobytes())
    return out.getvalue()


def hear_tones(page: Page) -> None:
    """Switch the detection of speech off, which a tone is not; the settings are open."""
    switched_off = page.locator(".uploader[data-options*='\"vad\":false']")
    for _ in range(3):  # a click is lost while the page is drawn anew
        page.get_by_text(catalogue("ru")["option.vad"], exact=True).click()
        with suppress(TimeoutError):
            switched_off.wait_for(timeout=20_000)
            break
    expect(switched_off).to_be_visible()


def go_back(page: Page) -> None:
    """From a job to the start page, until nothing is left of views that were drawn on the way."""
    page.locator(".back").click()
    expect(page.locator(".job")).to_have_count(0)
    for part in (".zone", "input[type=search]"):
        expect(page.locator(part)).to_have_count(1)


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    with FakeBackend() as running:
        yield running


@dataclass(frozen=True)
class RunningPage:
    url: str
    backend: FakeBackend


@pytest.fixture(scope="module")
def page_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    """The page on a free port, with a fake backend behind it."""
    folder = tmp_path_factory.mktemp("page")
    with FakeBackend() as running, frontend_process(folder, running.url) as page:
        yield RunningPage(page.url, running)


@pytest.fixture
def page_backend(page_process: RunningPage) -> Iterator[FakeBackend]:
    """The backend behind the page; afterwards it is as it was."""
    running = page_process.backend
    yield running
    running.faults = Faults()
    running.jobs.pace_s, running.jobs.hold_at = 0.05, None
    running.locked = running.list_fails = False
    running.jobs.jobs.clear()
    running.uploads.clear()
    running.requests.clear()


@contextmanager
def tabs(browser: Browser, visit: Callable[[Page, str], object], **always: Any) -> Iterator[Open]:
    """Opens the page at a query, each time for another person; no script of it may fail.

    `always` is what every browser context is given.
    """
    contexts = []
    errors: list[str] = []

    def open_at(query: str = "", *, width: int = 1280, locale: str = "ru-RU", **more: str) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 820}, locale=locale, **always, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        visit(page, query)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [error for error in errors if "dynamically imported" not in error] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium with a microphone that beeps."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on PATH: the page cannot be driven in a browser")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()
