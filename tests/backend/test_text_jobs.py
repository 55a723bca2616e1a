"""Text work of jobs through the front door, against a chat server that does as it is told."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .chat_server import Chat, ChatServer, Said
from .desk import NO_VAD, Desk, until
from .model_server import ModelServer, Reply, heard
from .sounds import noise, wav

KEY = "sk-quite-secret"
SUMMARY = {"task": "summary"}
SOUND = wav(noise(1))


@pytest.fixture
def make_desk(tmp_path: Path, model: ModelServer, chat: ChatServer) -> Callable[..., Desk]:
    """A backend with the chat server; the same data folder every time."""

    def make(**settings: Any) -> Desk:
        named = {"text_llm_url": chat.url, "text_llm_api_key": KEY, **settings}
        return Desk(tmp_path / "data", model.url, **named)

    return make


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Iterator[Desk]:
    with make_desk() as open_desk:
        yield open_desk


def finished(desk: Desk, text: Any = None, sound: bytes = SOUND) -> dict[str, Any]:
    """A job at its end, with text work if `text` says so."""
    more = {} if text is None else {"text": text}
    return desk.wait(desk.submit(sound, **more)["id"])


def submit_all(desk: Desk, tasks: list[dict[str, Any]]) -> list[str]:
    """Jobs with text work on one recording, all at once."""
    uploads = [desk.upload(SOUND) for _ in tasks]
    rows = zip(uploads, tasks, strict=True)
    bodies = [{"upload_id": upload, "options": NO_VAD, "text": task} for upload, task in rows]
    return [desk.http.post("/v1/jobs", json=body).json()["id"] for body in bodies]


def texts(desk: Desk, job_id: str) -> list[dict[str, Any]]:
    """Text work of a job, newest first."""
    rows: list[dict[str, Any]] = desk.http.get(f"/v1/jobs/{job_id}/text").json()["data"]
    return rows


def post(desk: Desk, job_id: str, **body: Any) -> Any:
    """Ask for text work."""
    return desk.http.post(f"/v1/jobs/{job_id}/text", json=body)


def events(answer: Any) -> list[tuple[str, Any]]:
    """Server-sent events as name and data."""
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def slow(text: str = "долгий ответ") -> Callable[[Chat], Said]:
    """An answer that takes half a minute."""
    return lambda _: Said(text, delay_s=30)


def test_a_job_may_bring_text_work_along(desk: Desk, chat: ChatServer) -> None:
    view = finished(desk, SUMMARY)
    assert view["status"] == "completed"
    assert view["stages"] == {
        "asr": {"state": "ok", "reason": None, "remedy": None},
        "text": {"state": "ok", "reason": None, "remedy": None},
    }
    (text,) = texts(desk, view["id"])
    assert (text["task"], text["state"], text["model"]) == ("summary", "ok", "chat-a")
    assert text["text"] == "Кратко: ничего особенного."
    assert text["pieces_done"] == text["pieces_total"] == 1
    assert chat.asked[0].text == "раз два"
    assert chat.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_text_work_is_no_part_of_the_recognition_and_is_done_once(
    desk: Desk, chat: ChatServer, model: ModelServer
) -> None:
    plain = finished(desk)
    assert plain["stages"].keys() == {"asr"}
    for _ in range(2):
        assert texts(desk, finished(desk, SUMMARY)["id"])[0]["state"] == "ok"
    assert post(desk, plain["id"], **SUMMARY).json()["text"] == "Кратко: ничего особенного."
    assert len(model.asked) == 1
    assert len(chat.asked) == 1
    finished(desk, {"task": "instruction", "instruction": "перечисли имена"})
    assert (len(model.asked), len(chat.asked)) == (1, 2)


def test_jobs_that_ask_the_same_at_once_ask_once(desk: Desk, chat: ChatServer) -> None:
    chat.answer = lambda _: Said("одно на всех", delay_s=0.5)
    for job_id in submit_all(desk, [SUMMARY] * 4):
        desk.wait(job_id)
        assert texts(desk, job_id)[0]["text"] == "одно на всех"
    assert len(chat.asked) == 1


def test_not_more_than_so_many_requests_at_a_time(desk: Desk, chat: ChatServer) -> None:
    chat.answer = lambda asked: Said(asked.text, delay_s=0.6)
    tasks = [{"task": "instruction", "instruction": f"сделай {n}"} for n in range(6)]
    views = [desk.wait(job_id) for job_id in submit_all(desk, tasks)]
    assert {view["stages"]["text"]["state"] for view in views} == {"ok"}
    assert chat.most_at_once == 2
    assert len(chat.asked) == 6


@pytest.mark.parametrize(
    ("said", "attempts", "code"),
    [
        (Said(status=401, body=f'{{"error": "no {KEY}"}}'.encode()), 1, "text_service_failed"),
        (Said(status=500), 3, "text_service_unavailable"),
        (Said("оборвался на слове", breaks_after=2), 3, "text_service_unavailable"),
        (Said(status=504), 2, "text_service_timeout"),
        (Said(status=200, body=b"?"), 1, "text_service_failed"),
        (Said(""), 1, "text_service_failed"),
    ],
    ids=str,
)
def test_a_failure_costs_the_text_work_and_never_the_transcript(
    desk: Desk,
    chat: ChatServer,
    caplog: pytest.LogCaptureFixture,
    said: Said,
    attempts: int,
    code: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    chat.answer = lambda _: said
    view = finished(desk, SUMMARY)
    assert (view["status"], view["error"]) == ("completed", None)
    stage = view["stages"]["text"]
    assert stage["state"] == "failed"
    assert stage["reason"].startswith("The language model")
    (text,) = texts(desk, view["id"])
    assert text["error"]["code"] == code
    assert len(chat.asked) == attempts
    transcript = desk.http.get(f"/v1/jobs/{view['id']}/transcript?format=txt")
    assert transcript.text == "раз два\n"
    assert KEY not in caplog.text + json.dumps(text)


def test_strict_text_work_decides_about_the_job_but_keeps_the_transcript(
    desk: Desk, chat: ChatServer
) -> None:
    chat.answer = lambda _: Said(status=403)
    view = finished(desk, {**SUMMARY, "strict": True})
    assert view["status"] == "failed"
    assert view["error"]["code"] == "text_service_failed"
    assert view["error"]["hint"] == "Set TEXT_LLM_API_KEY."
    assert view["stages"]["asr"]["state"] == "ok"
    url = f"/v1/jobs/{view['id']}"
    assert desk.http.get(f"{url}/transcript?format=txt").text == "раз два\n"
    assert [row["id"] for row in desk.http.get("/v1/jobs?status=failed").json()["data"]] == [
        view["id"]
    ]
    chat.answer = lambda _: Said("теперь да")
    assert desk.http.post(f"{url}/retry").status_code == 200
    assert desk.wait(view["id"])["status"] == "completed"
    assert texts(desk, view["id"])[0]["text"] == "теперь да"


def test_punctuation_goes_into_every_format_with_the_times_of_the_words(
    desk: Desk, chat: ChatServer
) -> None:
    chat.answer = lambda _: Said("Раз, два! Готово.")
    view = finished(desk, {"task": "punctuation"})
    (text,) = texts(desk, view["id"])
    assert text["text"] == "Раз, два!"
    url = f"/v1/jobs/{view['id']}/transcript"
    plain = desk.http.get(url).json()["segments"][0]
    spelled = desk.http.get(f"{url}?punctuated=true").json()["segments"][0]
    assert spelled["text"] == "Раз, два!"
    assert [word["text"] for word in spelled["words"]] == [" Раз,", " два!"]
    for field in ("start", "end", "probability"):
        assert [w[field] for w in spelled["words"]] == [w[field] for w in plain["words"]]
    assert "\nРаз, два!\n" in desk.http.get(f"{url}?punctuated=true&format=srt").text
    assert desk.http.get(f"{url}?format=txt").text == "раз два\n"


def test_a_transcript_tells_of_its_stages_where_asked(desk: Desk, chat: ChatServer) -> None:
    chat.answer = lambda _: Said(status=401)
    url = f"/v1/jobs/{finished(desk, SUMMARY)['id']}/transcript"
    for format in ("json", "verbose_json"):
        shape = desk.http.get(f"{url}?format={format}&stages=true").json()
        assert shape["text"] == "раз два"
        assert shape["stages"]["asr"]["state"] == "ok"
        assert shape["stages"]["text"]["state"] == "failed"
        assert shape["stages"]["text"]["remedy"] == "Set TEXT_LLM_API_KEY."
        assert shape["texts"][0]["error"]["code"] == "text_service_failed"
    assert "stages" not in desk.http.get(url).json()
    assert desk.http.get(f"{url}?format=srt&stages=true").status_code == 422
    strict = desk.http.get(f"{url}?strict=true")
    assert (strict.status_code, strict.json()["error"]["code"]) == (502, "text_service_failed")
    missing = desk.http.get(f"{url}?punctuated=true")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "punctuated")


def test_while_the_model_works_the_job_runs_and_the_transcript_is_there(
    desk: Desk, chat: ChatServer
) -> None:
    chat.answer = slow()
    job_id = desk.submit(SOUND, text=SUMMARY)["id"]
    until(lambda: chat.asked)
    view = desk.job(job_id)
    assert (view["status"], view["progress"]["stage"]) == ("running", "text")
    assert view["stages"]["text"]["state"] == "running"
    assert view["finished_at"] is None
    for status, shown in (("running", [job_id]), ("completed", []), ("failed", [])):
        rows = desk.http.get(f"/v1/jobs?status={status}").json()["data"]
        assert [row["id"] for row in rows] == shown
    for partial in ("true", "false"):
        url = f"/v1/jobs/{job_id}/transcript?format=txt&partial={partial}"
        assert desk.http.get(url).text == "раз два\n"


def test_cancelling_then_ends_the_text_work_only(desk: Desk, chat: ChatServer) -> None:
    chat.answer = slow()
    job_id = desk.submit(SOUND, text=SUMMARY)["id"]
    until(lambda: chat.asked)
    view = desk.http.delete(f"/v1/jobs/{job_id}").json()
    assert (view["status"], view["stages"]["text"]["state"]) == ("completed", "cancelled")
    until(lambda: chat.gone_clients == 1)
    assert desk.http.get(f"/v1/jobs/{job_id}/transcript?format=txt").text == "раз два\n"
    chat.answer = lambda _: Said("снова")
    assert post(desk, job_id, **SUMMARY).json()["text"] == "снова"


def test_removing_a_job_removes_its_texts_and_ends_the_work(desk: Desk, chat: ChatServer) -> None:
    chat.answer = slow()
    job_id = desk.submit(SOUND, text=SUMMARY)["id"]
    until(lambda: chat.asked)
    assert desk.http.delete(f"/v1/jobs/{job_id}?purge=true").status_code == 204
    until(lambda: chat.gone_clients == 1)
    assert desk.http.get(f"/v1/jobs/{job_id}/text").status_code == 404


def test_a_job_without_a_transcript_leaves_no_text_work_waiting(
    desk: Desk, model: ModelServer, chat: ChatServer
) -> None:
    view = finished(desk, SUMMARY, sound=b"no sound at all")
    assert view["status"] == "failed"
    assert view["error"]["code"] == "unsupported_format"
    assert view["stages"]["text"]["state"] == "cancelled"
    (text,) = texts(desk, view["id"])
    assert text["state"] == "cancelled"
    answer = desk.http.get(f"/v1/jobs/{view['id']}/text/{text['id']}/events")
    assert [name for name, _ in events(answer)] == ["state", "done"]
    assert chat.asked == []


def test_on_demand_as_a_stream(desk: Desk, chat: ChatServer) -> None:
    said = "По одному слову за раз приходит этот ответ."
    chat.answer = lambda _: Said(said, pace_s=0.3)
    job_id = finished(desk)["id"]
    answer = post(desk, job_id, task="instruction", instruction="скажи", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    seen = events(answer)
    deltas = [data["text"] for name, data in seen if name == "delta"]
    assert "".join(deltas) == said
    assert len(deltas) > 1
    assert seen[-1][0] == "done"
    assert seen[-1][1]["text"] == said
    assert [name for name, _ in seen].count("reset") == 0
    text_id = seen[-1][1]["id"]
    again = desk.http.get(f"/v1/jobs/{job_id}/text/{text_id}/events")
    assert [data["text"] for name, data in events(again) if name == "delta"] == [said]


def test_a_long_transcript_is_punctuated_piece_by_piece_before_ones_eyes(
    make_desk: Callable[..., Desk], chat: ChatServer, model: ModelServer
) -> None:
    spoken = [f"предложение номер {n} сказано вслух" for n in range(40)]
    model.answer = lambda asked: Reply(body=heard(asked, " " + " ".join(spoken)))
    chat.answer = lambda asked: Said(asked.text.replace(" предл", ". Предл"), delay_s=0.3)
    with make_desk(text_llm_context_chars=500) as desk:
        job_id = finished(desk)["id"]
        seen = events(post(desk, job_id, task="punctuation", stream=True))
        counts = [data["pieces_done"] for name, data in seen if name == "state"]
        assert counts == sorted(counts)
        assert len(set(counts)) > 2
        done = seen[-1][1]
        assert "".join(data["text"] for name, data in seen if name == "delta") == done["text"]
        assert done["text"].count(". Предложение номер") == 39
        assert done["text"].lower().replace(".", "") == " ".join(spoken)
        assert done["pieces_done"] == done["pieces_total"] == len(chat.asked) > 3
        assert done["warnings"] == []


def test_a_stream_that_breaks_begins_again(desk: Desk, chat: ChatServer) -> None:
    tries = [Said("первая попытка не вышла", breaks_after=4, pace_s=0.4), Said("вторая вышла")]
    chat.answer = lambda _: tries.pop(0)
    seen = events(post(desk, finished(desk)["id"], **SUMMARY, stream=True))
    text = ""
    for name, data in seen:
        text = "" if name == "reset" else text + data["text"] if name == "delta" else text
    assert text == seen[-1][1]["text"] == "вторая вышла"
    assert "reset" in [name for name, _ in seen]


def test_on_demand_without_waiting(desk: Desk, chat: ChatServer) -> None:
    chat.answer = slow()
    job_id = finished(desk)["id"]
    answer = post(desk, job_id, **SUMMARY, wait=False)
    assert answer.status_code == 202
    url = answer.headers["location"]
    until(lambda: desk.http.get(url).json()["state"] == "running")
    assert desk.job(job_id)["status"] == "completed"
    assert desk.http.delete(url).json()["state"] == "cancelled"
    until(lambda: chat.gone_clients == 1)


def test_on_demand_a_failure_is_told_at_once_and_tried_again_later(
    make_desk: Callable[..., Desk], chat: ChatServer
) -> None:
    chat.answer = lambda _: Said(status=500)
    with make_desk(retry_scale=1.0) as desk:
        job_id = finished(desk)["id"]
        view = post(desk, job_id, **SUMMARY).json()
        assert (view["state"], view["error"]["code"]) == ("waiting", "text_service_unavailable")
        assert view["retry_at"] > view["created_at"]
        strict = post(desk, job_id, task="summary", strict=True)
        assert strict.status_code == 503
        assert strict.json()["error"]["code"] == "text_service_unavailable"
        chat.answer = lambda _: Said("пришло")
        assert post(desk, job_id, **SUMMARY).json()["text"] == "пришло"


WRONG: list[dict[str, Any]] = [
    {},
    {"task": "none"},
    {"task": "poem"},
    {"task": "instruction"},
    {"task": "instruction", "instruction": "  "},
    {"task": "instruction", "instruction": "\0"},
    {"task": "instruction", "instruction": "я" * 5000},
    {"task": "summary", "unknown": 1},
    {"task": "summary", "instruction": "\ud800"},
]


def test_a_wrong_request_is_refused(desk: Desk, chat: ChatServer) -> None:
    job_id = finished(desk)["id"]
    for body in WRONG:
        answer = desk.http.post(
            f"/v1/jobs/{job_id}/text",
            content=json.dumps(body),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["error"]["code"] == "invalid_options"
    assert chat.asked == []


def test_what_is_not_there_is_not_found(desk: Desk) -> None:
    job_id = finished(desk)["id"]
    other = finished(desk, SUMMARY, sound=wav(noise(1, seed=2)))["id"]
    foreign = texts(desk, other)[0]["id"]
    assert post(desk, "nonesuch", **SUMMARY).status_code == 404
    assert desk.http.get("/v1/jobs/nonesuch/text").status_code == 404
    for tail in ("nonesuch", foreign, "nonesuch/events"):
        assert desk.http.get(f"/v1/jobs/{job_id}/text/{tail}").status_code == 404
    assert desk.http.delete(f"/v1/jobs/{job_id}/text/{foreign}").status_code == 404


def test_a_job_that_is_not_finished_has_no_text_to_work_on(desk: Desk, model: ModelServer) -> None:
    answer = model.answer
    may_answer = threading.Event()

    def held(asked: Any) -> Any:
        may_answer.wait(60)
        return answer(asked)

    model.answer = held
    job_id = desk.submit(SOUND)["id"]
    refused = post(desk, job_id, **SUMMARY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_finished")
    may_answer.set()
    desk.wait(job_id)
    assert post(desk, job_id, **SUMMARY).json()["state"] == "ok"


def test_without_a_language_model(make_desk: Callable[..., Desk], chat: ChatServer) -> None:
    with make_desk(text_llm_url="") as desk:
        assert desk.http.get("/v1/capabilities").json()["text"]["configured"] is False
        view = finished(desk, SUMMARY)
        assert view["status"] == "completed"
        assert view["stages"]["text"]["state"] == "failed"
        assert "TEXT_LLM_URL" in view["stages"]["text"]["remedy"]
        refused = post(desk, view["id"], **SUMMARY)
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "text_service_not_configured"
        body = {"upload_id": desk.upload(SOUND), "text": {**SUMMARY, "strict": True}}
        assert desk.http.post("/v1/jobs", json=body).status_code == 422
    with make_desk() as desk:
        assert desk.http.get("/v1/capabilities").json()["text"] == {
            "configured": True,
            "model": "",
            "tasks": ["punctuation", "summary", "instruction"],
        }
        assert post(desk, view["id"], **SUMMARY).json()["state"] == "ok"
        assert desk.job(view["id"])["stages"]["text"]["state"] == "ok"


def test_a_completed_job_stays_completed_while_its_text_work_is_done_again(
    desk: Desk, chat: ChatServer
) -> None:
    chat.answer = lambda _: Said(status=401)
    job_id = finished(desk, SUMMARY)["id"]
    chat.answer = slow()
    url = post(desk, job_id, **SUMMARY, wait=False).headers["location"]
    until(lambda: len(chat.asked) == 2)
    view = desk.job(job_id)
    assert (view["status"], view["stages"]["text"]["state"]) == ("completed", "running")
    assert [row["id"] for row in desk.http.get("/v1/jobs?status=completed").json()["data"]] == [
        job_id
    ]
    assert desk.http.delete(f"/v1/jobs/{job_id}").json()["stages"]["text"]["state"] == "running"
    assert desk.http.delete(url).json()["state"] == "cancelled"


def test_a_shutdown_puts_the_work_back_and_a_start_goes_on(
    make_desk: Callable[..., Desk], chat: ChatServer
) -> None:
    chat.answer = slow()
    with make_desk() as desk:
        job_id = desk.submit(SOUND, text=SUMMARY)["id"]
        until(lambda: chat.asked)
        started = time.monotonic()
    assert time.monotonic() - started < 25
    until(lambda: chat.gone_clients == 1)
    chat.answer = lambda _: Said("после перерыва")
    with make_desk() as desk:
        assert desk.wait(job_id)["stages"]["text"]["state"] == "ok"
        assert texts(desk, job_id)[0]["text"] == "после перерыва"


def test_too_much_waiting_work_is_refused(make_desk: Callable[..., Desk], chat: ChatServer) -> None:
    chat.answer = slow()
    with make_desk(max_queued_jobs=2, text_llm_in_flight=1) as desk:
        job_id = finished(desk)["id"]
        post(desk, job_id, task="instruction", instruction="первое", wait=False)
        until(lambda: chat.asked)
        answers = [
            post(desk, job_id, task="instruction", instruction=f"{n}", wait=False) for n in range(3)
        ]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert int(answers[2].headers["retry-after"]) > 0


def test_the_events_of_a_job_end_with_its_text_work(desk: Desk, chat: ChatServer) -> None:
    chat.answer = lambda _: Said("кратко", delay_s=1.5)
    job_id = desk.submit(SOUND, text=SUMMARY)["id"]
    seen = events(desk.http.get(f"/v1/jobs/{job_id}/events"))
    stages = [data["stage"] for name, data in seen if name == "progress"]
    assert "text" in stages
    assert seen[-1][0] == "done"
    assert seen[-1][1]["stages"]["text"]["state"] == "ok"
