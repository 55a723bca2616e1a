"""kill -9 in the middle of text work, with the real services and real recognized text."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import jiwer
import requests

from ..servers import SAMPLES, Process
from ..waiting import until
from .chat_server import ChatServer, Said

SOUND = SAMPLES / "extension_ru.flac"


def job_with_text(url: str, task: str) -> str:
    """A job on a sample with text work; its address."""
    content = SOUND.read_bytes()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content))}
    made = requests.post(f"{url}/files", headers=headers, timeout=60)
    place = urljoin(f"{url}/files", made.headers["Location"])
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    assert requests.patch(place, content, headers=headers, timeout=60).status_code == 204
    body = {"upload_id": place.rpartition("/")[2], "text": {"task": task}}
    answer = requests.post(f"{url}/v1/jobs", json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    return f"{url}/v1/jobs/{answer.json()['id']}"


def final(job: str) -> dict[str, Any] | None:
    """The job if nothing more will happen to it."""
    view: dict[str, Any] = requests.get(job, timeout=60).json()
    return view if view["status"] in ("completed", "failed", "cancelled") else None


def test_a_killed_backend_does_its_text_work_after_the_start(
    make_backend: Callable[..., Process], chat: ChatServer
) -> None:
    backend = make_backend(TEXT_LLM_URL=chat.url, TEXT_LLM_MODEL="m")
    chat.answer = lambda _: Said("никогда", delay_s=120)
    job = job_with_text(backend.url, "punctuation")
    until(lambda: chat.asked)
    backend.kill()
    until(lambda: chat.gone_clients)
    chat.answer = lambda asked: Said(f"{asked.text.capitalize()}.")
    backend.start()
    view = until(lambda: final(job), 90)
    assert view["status"] == "completed"
    assert view["stages"]["text"]["state"] == "ok"
    (text,) = requests.get(f"{job}/text", timeout=60).json()["data"]
    assert text["text"].endswith(".")
    reference = SOUND.with_suffix(".txt").read_text().lower()
    assert jiwer.wer(reference.strip(), text["text"].lower().rstrip(".")) < 0.5
    shown = requests.get(f"{job}/transcript?format=txt&punctuated=true", timeout=60).text
    assert " ".join(shown.split()) == text["text"]
