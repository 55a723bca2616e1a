"""Make the pictures of the README with headless Chromium.

    python artefacts/pictures.py diagram
    python artefacts/pictures.py example --page http://localhost:8010 --recording FILE

`example` drops FILE into a running page, waits for the whole text and plays a phrase of it.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
RECOGNITION_TIMEOUT_MS = 600_000
PLAYED_MS = 1500


def open_page(browser: Browser, width: int, height: int) -> Page:
    """A Russian reader's empty tab, twice as sharp as it is wide."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=2, locale="ru-RU"
    )
    return context.new_page()


def diagram(browser: Browser) -> None:
    """Take `diagram.png` of `diagram.html`."""
    page = open_page(browser, 1200, 610)
    page.goto((HERE / "diagram.html").as_uri())
    page.evaluate("document.fonts.ready")
    page.locator("svg").screenshot(path=HERE / "diagram.png")


def example(browser: Browser, url: str, recording: Path, phrase: int) -> None:
    """Take `example.png` of the page at `url` with the text of `recording`."""
    page = open_page(browser, 1280, 860)
    page.goto(url)
    page.locator("[data-testid=file-input]").set_input_files(recording)
    page.locator(".job h1").wait_for(timeout=RECOGNITION_TIMEOUT_MS)
    page.locator(".working").wait_for(state="hidden", timeout=RECOGNITION_TIMEOUT_MS)
    page.locator(".stamp").nth(phrase).click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(PLAYED_MS)
    page.screenshot(path=HERE / "example.png")


def main() -> None:
    """Make one picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=("diagram", "example"))
    parser.add_argument("--page", default="http://localhost:8010")
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--phrase", type=int, default=2, help="which phrase is being played")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        if given.picture == "diagram":
            diagram(browser)
        else:
            example(browser, given.page, given.recording, given.phrase)
        browser.close()


if __name__ == "__main__":
    main()
