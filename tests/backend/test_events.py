"""A job's events where what was told becomes void."""

import itertools
import json
import threading
from collections.abc import Iterator

import requests

from .desk import Desk
from .model_server import Asked, ModelServer, Reply, heard
from .serving import serving
from .sounds import noise, wav

NOT_READY = {"error": {"code": "model_not_ready", "message": "changing"}}
REMEMBERED_S = 10.5  # longer than the backend remembers which model answers


def told(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Name, number and data of every event that has data."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def test_an_open_stream_and_one_that_resumes_miss_nothing_when_the_model_changes(
    desk: Desk, model: ModelServer
) -> None:
    numbers = itertools.count()
    changed = threading.Event()

    def answer(asked: Asked) -> Reply:
        old = asked.fields["model"] == ["model-a"]
        if old and next(numbers) >= 3:
            changed.wait(60)
            return Reply(503, NOT_READY, delay_s=REMEMBERED_S)
        return Reply(body=heard(asked, " старое" if old else " новое"))

    model.answer = answer
    job_id = desk.submit(wav(noise(16)))["id"]
    windows: dict[object, object] = {}
    seen: list[int] = []
    with serving(desk.app) as url:
        stream = requests.get(f"{url}/v1/jobs/{job_id}/events", stream=True, timeout=60)
        stream.encoding = "utf-8"
        for name, number, data in told(stream.iter_lines(1, decode_unicode=True)):
            if name == "reset":
                windows.clear()
            if name in ("window", "reset"):
                seen.append(int(number))
            if name == "window":
                windows[data["index"]] = data["segments"]
            if len(seen) == 3 and not changed.is_set():
                model.model = "model-b"
                changed.set()
    whole = desk.wait(job_id)["progress"]["windows_total"]
    assert sorted(windows, key=str) == sorted(range(whole), key=str)
    assert "старое" not in json.dumps(windows, ensure_ascii=False)
    assert seen == list(range(1, 4 + 1 + whole))
    how = {"headers": {"Last-Event-ID": "3"}}
    with desk.http.stream("GET", f"/v1/jobs/{job_id}/events", **how) as stream:
        again = [(name, number) for name, number, _ in told(stream.iter_lines()) if number]
    assert again == [("reset", "4"), *(("window", str(5 + n)) for n in range(whole))]
