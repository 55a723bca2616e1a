"""The default gain is that of the whole recording; work begins before it is known, on a guess."""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from stenograf.client import Client
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions

from ..servers import backend_process
from . import recordings
from .decoders import Decoders
from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard

DEFAULT = {"cut": {"chunk_size_s": 10}}
AS_IS = {"normalize": {"method": "as is"}, **DEFAULT}
KEPT_WAITING_S = 60.0  # nobody who waits for it is done in time


def windows_of(content: bytes) -> list[bytes]:
    return list(recordings.windows(content, json.dumps(DEFAULT)))


def stored(data_dir: Path) -> tuple[str | None, int]:
    """The plan and the number of windows in the database of a service."""
    uri = f"file:{data_dir / 'stenograf.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        ((plan,),) = database.execute("SELECT plan FROM recognitions").fetchall()
        ((count,),) = database.execute("SELECT count(*) FROM windows").fetchall()
        return plan, count


class Guesses:
    """A model that tells what it is asked before the length of the recording is known from then on.

    `early` and `late` answer. What is submitted here is decoded no further than to the end of its
    speech before the `enough`-th early request; `at_once` counts the early ones there together.
    """

    def __init__(self, desk: Desk, model: ModelServer, enough: int = 2) -> None:
        self.enough = enough
        self.early_windows: list[bytes] = []
        self.late_windows: list[bytes] = []
        self.at_once: list[int] = []
        self.shown: list[dict[str, Any]] = []
        self.early: Callable[[Asked], Reply] = lambda asked: Reply(body=heard(asked))
        self.late: Callable[[Asked], Reply] = lambda asked: Reply(body=heard(asked))
        self.job_id = ""
        self._decoders = Decoders(desk.house.settings.data_dir, recordings.TOLD_S)
        self._desk = desk
        self._model = model
        self._begun = threading.Event()
        model.answer = self._answer

    def submit(self, content: bytes, options: Any = DEFAULT) -> str:
        self._decoders.slow_down()
        self.watch(str(self._desk.submit(content, options)["id"]))
        return self.job_id

    def watch(self, job_id: str) -> None:
        self.job_id = job_id
        self._begun.set()

    def decoded(self) -> bool:
        return self._desk.job(self.job_id)["duration_s"] is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._decoders.release()

    def _answer(self, asked: Asked) -> Reply:
        assert self._begun.wait(30)
        view = self._desk.job(self.job_id)
        if view["duration_s"] is not None:
            self.late_windows.append(asked.wav[44:])
            return self.late(asked)
        self.early_windows.append(asked.wav[44:])
        self.at_once.append(self._model.at_once)
        self.shown.append(view)
        if len(self.early_windows) >= self.enough:
            self._decoders.release()
        return self.early(asked)


@pytest.fixture
def guesses(desk: Desk, model: ModelServer) -> Iterator[Guesses]:
    with Guesses(desk, model) as found:
        yield found


def transcript(desk: Desk, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = desk.http.get(f"/v1/jobs/{job_id}/transcript").json()
    return found


def counted() -> Callable[[Asked], Reply]:
    """Tells windows apart by what is said in them, not by when they are asked for."""

    def answer(asked: Asked) -> Reply:
        return Reply(body=heard(asked, f" длина {asked.n_samples} {sum(asked.wav) % 9973}"))

    return answer


def test_a_right_guess_changes_nothing_but_the_time(desk: Desk, guesses: Guesses) -> None:
    guesses.early = guesses.late = counted()
    content = recordings.calm()
    guessed = desk.wait(guesses.submit(content), timeout_s=120)
    assert guessed["status"] == "completed"
    assert guesses.early_windows, "the first window was asked for before the file's end"
    assert sorted(guesses.early_windows + guesses.late_windows) == sorted(windows_of(content))
    text = transcript(desk, guessed["id"])
    assert text["levels"]["gain_db"] == 0.0
    assert text["levels"]["method"] == "auto"
    known = desk.wait(guesses.submit(content, AS_IS), timeout_s=120)
    for name in ("segments", "warnings", "duration", "language", "model"):
        assert text[name] == transcript(desk, known["id"])[name]
    for name in ("windows_done", "windows_total", "done_s", "total_s"):
        assert guessed["progress"][name] == known["progress"][name]


def test_nobody_sees_what_rests_on_a_guess(desk: Desk, guesses: Guesses) -> None:
    seen: list[tuple[str | None, int]] = []
    texts: list[list[Any]] = []
    guesses.enough = 3

    def look(asked: Asked) -> Reply:
        if len(guesses.early_windows) < guesses.enough:
            seen.append(stored(desk.house.settings.data_dir))
            url = f"/v1/jobs/{guesses.job_id}/transcript"
            texts.append(desk.http.get(url, params={"partial": True}).json()["segments"])
        return Reply(body=heard(asked))

    guesses.early = look
    view = desk.wait(guesses.submit(recordings.shrill()), timeout_s=120)
    assert view["status"] == "completed"
    assert seen == [(None, 0), (None, 0)], "the second time the first window is heard"
    assert texts == [[], []]
    assert {shown["progress"]["stage"] for shown in guesses.shown} == {"decoding"}
    assert {shown["progress"]["windows_done"] for shown in guesses.shown} == {0}


def test_while_it_is_a_guess_one_window_is_at_the_model_at_a_time(
    desk: Desk, guesses: Guesses, model: ModelServer
) -> None:
    def keep_some(asked: Asked) -> Reply:
        if len(guesses.early_windows) >= guesses.enough:
            until(guesses.decoded, 60)
        return Reply(body=heard(asked), delay_s=0.3)

    guesses.early = guesses.late = keep_some
    view = desk.wait(guesses.submit(recordings.calm()), timeout_s=120)
    assert view["status"] == "completed"
    assert set(guesses.at_once) == {1}
    assert model.most_at_once == 2


def test_a_recording_that_begins_too_quiet_is_not_guessed_at(desk: Desk, guesses: Guesses) -> None:
    content = recordings.quiet()
    guesses.watch(desk.submit(content, DEFAULT)["id"])
    view = desk.wait(guesses.job_id, timeout_s=120)
    assert view["status"] == "completed"
    assert guesses.early_windows == []
    assert sorted(guesses.late_windows) == sorted(windows_of(content))


def test_a_wrong_guess_costs_only_what_was_asked_for_meanwhile(
    desk: Desk, guesses: Guesses, model: ModelServer
) -> None:
    def answer_one(asked: Asked) -> Reply:
        delay_s = KEPT_WAITING_S if len(guesses.early_windows) > 1 else 0.0
        return Reply(body=heard(asked, " неверно"), delay_s=delay_s)

    guesses.early = answer_one
    content = recordings.shrill()
    began = time.monotonic()
    view = desk.wait(guesses.submit(content), timeout_s=120)
    assert view["status"] == "completed"
    assert view["error"] is None
    assert time.monotonic() - began < KEPT_WAITING_S
    assert guesses.early_windows == windows_of(recordings.calm())[:2], "they begin alike"
    assert sorted(guesses.late_windows) == sorted(windows_of(content))
    until(lambda: model.gone_clients == 1)
    text = transcript(desk, view["id"])
    assert {segment["text"] for segment in text["segments"]} == {"раз два"}
    assert len(text["segments"]) == len(windows_of(content))
    assert text["levels"]["gain_db"] < -1
    assert view["progress"]["windows_done"] == len(windows_of(content))
    assert view["progress"]["done_s"] == pytest.approx(view["progress"]["total_s"])


REFUSALS = {
    "poisoned": Reply(400, {"error": {"code": "bad", "message": "no"}}),
    "no key": Reply(401, {"error": {"code": "unauthorized", "message": "no"}}),
    "away": Reply(503, {"error": {"code": "unavailable", "message": "no"}}),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_an_error_of_a_wrong_guess_is_of_no_account(
    desk: Desk, guesses: Guesses, refusal: Reply
) -> None:
    guesses.enough = 1
    guesses.early = lambda _: refusal
    seen = []
    content = recordings.shrill()
    guesses.submit(content)
    with desk.http.stream("GET", f"/v1/jobs/{guesses.job_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
    assert guesses.early_windows
    assert desk.job(guesses.job_id)["status"] == "completed"
    assert sorted(guesses.late_windows) == sorted(windows_of(content))
    statuses = [each["status"] for each in seen if "status" in each]
    assert statuses == sorted(statuses, key=["queued", "running", "completed"].index)
    assert not [each for each in seen if each.get("error")]


def test_an_error_of_a_right_guess_counts(desk: Desk, guesses: Guesses) -> None:
    guesses.enough = 1
    guesses.early = guesses.late = lambda _: REFUSALS["poisoned"]
    view = desk.wait(guesses.submit(recordings.calm()), timeout_s=120)
    assert guesses.early_windows
    assert view["status"] == "failed"
    assert view["error"]["message"].endswith("no")
    assert view["duration_s"] is not None, "it is told when the guess has proved right"


def test_windows_before_an_error_of_a_right_guess_are_kept(desk: Desk, guesses: Guesses) -> None:
    content = recordings.calm()
    first = windows_of(content)[0]
    guesses.early = lambda asked: (
        Reply(body=heard(asked)) if asked.wav[44:] == first else REFUSALS["away"]
    )
    view = desk.wait(guesses.submit(content), timeout_s=120)
    assert view["status"] == "completed"
    assert guesses.early_windows == windows_of(content)[:2]
    assert sorted([first, *guesses.late_windows]) == sorted(windows_of(content))


class WakingModel(ModelServer):
    """Not ready the first times it is asked after `sleepy` is set."""

    sleepy = 0

    @property
    def ready(self) -> Reply:
        if not self.sleepy:
            return Reply(body={"status": "ready", "progress": 1.0})
        self.sleepy -= 1
        return Reply(503, {"status": "loading", "progress": 0.4})

    @ready.setter
    def ready(self, reply: Reply) -> None:
        """It decides itself."""


def test_a_model_that_wakes_up_while_it_is_decoded_postpones_nothing(tmp_path: Path) -> None:
    with WakingModel() as model, Desk(tmp_path, model.url, retry_scale=1000.0) as desk:
        until(lambda: desk.http.get("/ready").json()["checks"]["llm"] == "ok")
        with Guesses(desk, model, enough=1) as guesses:
            model.sleepy = 2
            job_id = guesses.submit(recordings.calm())
            assert desk.wait(job_id, timeout_s=120)["status"] == "completed"
            assert guesses.early_windows
    assert not model.sleepy


def test_a_shutdown_leaves_nothing_of_a_guess(tmp_path: Path, model: ModelServer) -> None:
    content = recordings.shrill()
    with Desk(tmp_path, model.url) as desk, Guesses(desk, model) as guesses:
        guesses.early = lambda asked: Reply(body=heard(asked), delay_s=KEPT_WAITING_S)
        job_id = guesses.submit(content)
        until(lambda: guesses.early_windows, 60)
        left_at = time.monotonic()
    assert time.monotonic() - left_at < KEPT_WAITING_S / 2
    assert stored(tmp_path) == (None, 0)
    with Desk(tmp_path, model.url) as desk, Guesses(desk, model) as guesses:
        guesses.early = lambda asked: Reply(body=heard(asked, " неверно"))
        guesses.watch(job_id)
        assert desk.wait(job_id, timeout_s=120)["status"] == "completed"
        texts = {each["text"] for each in transcript(desk, job_id)["segments"]}
    assert texts == {"раз два"}
    assert set(guesses.late_windows) >= set(windows_of(content))


def test_a_killed_service_has_lost_only_its_guesses(tmp_path: Path, model: ModelServer) -> None:
    content = recordings.calm()
    path = tmp_path / "long.flac"
    path.write_bytes(content)
    killed = threading.Event()
    with backend_process(tmp_path, model.url) as backend:
        decoders = Decoders(tmp_path, recordings.TOLD_S, backend.popen.pid)
        decoders.slow_down()

        def kill_at_the_second(asked: Asked) -> Reply:
            if len(model.asked) == 2:
                backend.kill()
                killed.set()
            return Reply(body=heard(asked))

        model.answer = kill_at_the_second
        client = Client(backend.url)
        job = client.submit(path, TranscribeOptions.model_validate(DEFAULT))
        assert killed.wait(120)
        decoders.release()
        kept = stored(tmp_path)
        model.asked.clear()
        model.answer = lambda asked: Reply(body=heard(asked))
        backend.start()
        view = until(lambda: (now := client.job(job.id)).status.final and now, 120)
    assert kept == (None, 0)
    assert view.status is JobStatus.COMPLETED
    assert sorted(asked.wav[44:] for asked in model.asked) == sorted(windows_of(content))
