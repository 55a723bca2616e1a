"""What the services say about themselves is complete, valid, up to date, and true."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from stenograf.backend.app import create_app as create_backend
from stenograf.backend.described.everything import OPERATIONS as BACKEND_OPERATIONS
from stenograf.llm.app import create_app as create_llm
from stenograf.llm.described import OPERATIONS as LLM_OPERATIONS
from stenograf.openapi.__main__ import documents
from stenograf.openapi.document import undescribed
from stenograf.openapi.html import page
from stenograf.openapi.markdown import markdown
from stenograf.settings import BackendSettings, LlmSettings

from .backend.chat_server import ChatServer
from .servers import ROOT, SAMPLES, Process, backend_process

Document = dict[str, Any]


@pytest.fixture(scope="module")
def both() -> list[Document]:
    return documents()


def test_every_route_of_the_backend_is_described(tmp_path: Path) -> None:
    app = create_backend(BackendSettings(data_dir=tmp_path, _env_file=None))
    assert undescribed(app, BACKEND_OPERATIONS) == set()
    app.state.house.close()


def test_every_route_of_the_model_service_is_described(tmp_path: Path) -> None:
    app = create_llm(LlmSettings(data_dir=tmp_path, _env_file=None))
    assert undescribed(app, LLM_OPERATIONS) == set()


def test_documents_are_valid_openapi(both: list[Document]) -> None:
    for document in both:
        validate(document)


def test_every_parameter_and_field_says_what_it_means(both: list[Document]) -> None:
    for method, path, operation in (row for document in both for row in _operations(document)):
        assert operation["summary"], (method, path)
        for parameter in operation.get("parameters", ()):
            about = parameter.get("description") or parameter["schema"].get("description")
            assert about, (method, path, parameter["name"])
        for body in operation.get("requestBody", {}).get("content", {}).values():
            assert body["schema"], (method, path)


def test_examples_of_answers_fit_their_schemas(both: list[Document]) -> None:
    checked = 0
    for document in both:
        for _, _, operation in _operations(document):
            for response in operation["responses"].values():
                for body in response.get("content", {}).values():
                    if "example" in body:
                        schema = {"components": document["components"], **body["schema"]}
                        Draft202012Validator(schema).validate(body["example"])
                        checked += 1
    assert checked


def test_api_page_is_up_to_date(both: list[Document]) -> None:
    written = (ROOT / "docs" / "api.md").read_text()
    assert written == markdown(both), "run: python -m stenograf.openapi > docs/api.md"


def test_links_inside_the_api_page_lead_somewhere(both: list[Document]) -> None:
    text = markdown(both)
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


class Page(HTMLParser):
    """What a page is made of; every element must be closed that has to be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        given = dict(attrs)
        self.targets.add(given.get("href") or "")
        self.ids.add(given.get("id") or "")
        if tag not in ("meta", "li"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("create", [create_backend, create_llm])
def test_the_page_in_the_browser_loads_nothing(tmp_path: Path, create: Any) -> None:
    settings = BackendSettings if create is create_backend else LlmSettings
    app = create(settings(data_dir=tmp_path, _env_file=None))
    answer = TestClient(app).get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src")
    shown = Page(answer.text)
    assert shown.tags.keys().isdisjoint({"script", "link", "img", "iframe"})
    assert shown.tags["h4"] >= 7
    assert shown.tags["table"] > 10
    assert {target[1:] for target in shown.targets if target.startswith("#")} <= shown.ids
    assert "curl http" in answer.text


def test_a_page_escapes_what_it_shows() -> None:
    shown = page(
        '# <b>\n\n[x](javascript:alert) `<i>` | [y](https://a.b/?q="&c)\n\n```\n<u>\n```\n'
    )
    assert Page(shown).tags.keys().isdisjoint({"b", "i", "u"})
    assert "javascript" not in shown


@pytest.fixture(scope="module")
def roots(
    tmp_path_factory: pytest.TempPathFactory, embedded_llm: Process
) -> Iterator[Mapping[str, str]]:
    """Where the addresses of the documents are for now."""
    folder = tmp_path_factory.mktemp("backend")
    with ChatServer() as chat:
        text_llm_url = f"{chat.url}/v1"
        with backend_process(folder, embedded_llm.url, TEXT_LLM_URL=text_llm_url) as backend:
            yield {"http://localhost:8009": backend.url, "http://localhost:4321": embedded_llm.url}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("index", [0, 1], ids=["backend", "llm"])
def test_every_curl_example_runs(
    index: int, both: list[Document], roots: Mapping[str, str], tmp_path: Path
) -> None:
    """In the order of the page, in one shell: later examples use what earlier ones made."""
    examples = [
        (f"{method} {path}: {sample['label']}", sample["source"])
        for method, path, operation in _operations(both[index])
        for sample in operation.get("x-codeSamples", ())
    ]
    lines = ["set -euo pipefail"]
    for title, source in examples:
        for documented, actual in roots.items():
            source = source.replace(documented, actual)
        lines += [f"echo; echo '=== {title}'", source]
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 60\n")
    shutil.copy(SAMPLES / "order_number_ru.flac", tmp_path / "recording.flac")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "CURL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert done.stdout.count("\n=== ") == len(examples) > 3
    assert "семьдесят" in done.stdout


def _operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, row in document["paths"].items():
        for method, operation in row.items():
            yield method.upper(), path, operation
