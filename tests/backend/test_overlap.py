"""Text before the recording is heard to its end, and that nothing else changes by it."""

import contextlib
import io
import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from stenograf.contract.jobs import Stage
from stenograf.contract.pcm import SAMPLE_RATE

from . import recordings
from .decoders import Decoders
from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard, quick
from .recordings import LONG_S, SPEECH_S

AS_IS = {"normalize": {"method": "as is"}, "cut": {"chunk_size_s": 10}}
DEFAULT = {"cut": {"chunk_size_s": 10}}
TO_A_LEVEL = {"normalize": {"method": "lufs", "target_db": -20}, "cut": {"chunk_size_s": 10}}
either_gain = pytest.mark.parametrize("options", [AS_IS, DEFAULT], ids=["as is", "default"])


@pytest.fixture(scope="module")
def long_recording() -> bytes:
    """Speech, and then a long silence."""
    return recordings.calm()


@pytest.fixture(scope="module")
def short_recording() -> bytes:
    """The speech alone."""
    with io.BytesIO() as file:
        soundfile.write(file, recordings.speech(), SAMPLE_RATE, "PCM_16", format="FLAC")
        return file.getvalue()


@pytest.fixture(scope="module")
def windows(long_recording: bytes) -> Sequence[bytes]:
    """The samples of every window, as whole-file cutting gives them."""
    found = recordings.windows(long_recording, json.dumps(AS_IS))
    assert len(found) > 5
    return found


@pytest.fixture
def decoders(desk: Desk) -> Iterator[Decoders]:
    """Slow until they are released: not before the first window is asked for is all decoded."""
    found = Decoders(desk.house.settings.data_dir, recordings.TOLD_S)
    found.slow_down()
    yield found
    found.release()


class Witness:
    """A model that notes whether the backend knew the recording's length when it was asked."""

    def __init__(self, desk: Desk, model: ModelServer) -> None:
        self.desk = desk
        self.lengths: list[float | None] = []
        self.job_id = ""
        self._begun = threading.Event()
        model.answer = self._answer

    def submit(self, content: bytes, options: Any) -> str:
        self.job_id = str(self.desk.submit(content, options)["id"])
        self._begun.set()
        return self.job_id

    def _answer(self, asked: Asked) -> Reply:
        assert self._begun.wait(10)
        self.lengths.append(self.desk.job(self.job_id)["duration_s"])
        return Reply(body=heard(asked))


def test_windows_are_recognized_while_the_file_is_decoded(
    desk: Desk,
    decoders: Decoders,
    model: ModelServer,
    long_recording: bytes,
    windows: Sequence[bytes],
) -> None:
    witness = Witness(desk, model)
    answer = model.answer

    def answer_and_release(asked: Asked) -> Reply:
        reply = answer(asked)
        decoders.release()
        return reply

    model.answer = answer_and_release
    job_id = witness.submit(long_recording, AS_IS)
    view = desk.wait(job_id, timeout_s=120)
    assert view["status"] == "completed"
    assert witness.lengths[0] is None, "the first window was asked for before the file's end"
    assert view["duration_s"] == SPEECH_S + LONG_S
    assert sorted(asked.wav[44:] for asked in model.asked) == sorted(windows)
    transcript = desk.http.get(f"/v1/jobs/{job_id}/transcript").json()
    assert len(transcript["segments"]) == len(windows)
    assert view["progress"]["windows_total"] == len(windows)
    until(lambda: not list((desk.house.settings.data_dir / "spool").iterdir()))


def test_with_a_gain_of_the_whole_file_windows_are_recognized_while_it_is_heard(
    desk: Desk, model: ModelServer, long_recording: bytes, windows: Sequence[bytes]
) -> None:
    totals: list[int | None] = []
    witness = Witness(desk, model)
    answer = model.answer

    def look(asked: Asked) -> Reply:
        reply = answer(asked)
        totals.append(desk.job(witness.job_id)["progress"]["windows_total"])
        return reply

    model.answer = look
    view = desk.wait(witness.submit(long_recording, TO_A_LEVEL), timeout_s=120)
    assert view["status"] == "completed"
    assert witness.lengths[0] is not None
    assert totals[0] is None, "the first window was asked for before the last was known"
    assert len(model.asked) == len(windows) == view["progress"]["windows_total"]


@either_gain
def test_stage_and_progress_never_go_back(
    desk: Desk, model: ModelServer, long_recording: bytes, options: dict[str, Any]
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.2)
    job_id = desk.submit(long_recording, options)["id"]
    shown = []
    with desk.http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for name, data in itertools.pairwise(stream.iter_lines()):
            if name == "event: progress":
                shown.append(json.loads(data.removeprefix("data: ")))
    order = list(Stage)
    stages = [order.index(Stage(progress["stage"])) for progress in shown]
    assert stages == sorted(stages)
    assert order.index(Stage.RECOGNIZING) in stages
    done = [progress["done_s"] for progress in shown]
    assert done == sorted(done)
    totals = [progress["total_s"] for progress in shown if progress["total_s"] is not None]
    assert len(set(totals)) == 1
    known = [progress["total_s"] is not None for progress in shown]
    assert known == sorted(known)


@either_gain
def test_a_file_that_fails_late_gives_its_error_and_no_transcript(
    tmp_path: Path, model: ModelServer, long_recording: bytes, options: dict[str, Any]
) -> None:
    with Desk(tmp_path, model.url, max_duration_s=LONG_S) as desk:
        job_id = desk.submit(long_recording, options)["id"]
        view = desk.wait(job_id, timeout_s=120)
        assert model.asked
        assert view["status"] == "failed"
        assert view["error"]["code"] == "decode_limit_exceeded"
        assert desk.http.get(f"/v1/jobs/{job_id}/transcript").status_code == 409
        assert view["text_preview"] == ""
        until(lambda: not list((tmp_path / "spool").iterdir()))


def test_a_damaged_end_gives_what_was_decoded(desk: Desk, short_recording: bytes) -> None:
    cut_short = short_recording[: int(len(short_recording) * 0.7)]
    texts = []
    for options in (AS_IS, DEFAULT):
        view = desk.wait(desk.submit(cut_short, options)["id"])
        assert view["status"] == "completed"
        transcript = desk.http.get(f"/v1/jobs/{view['id']}/transcript").json()
        assert transcript["levels"]["gain_db"] == 0.0, "auto leaves this level alone"
        texts.append([(each["start"], each["end"]) for each in transcript["segments"]])
    assert texts[0] == texts[1] != []


@either_gain
def test_cancel_while_decoding_and_recognizing_ends_everything(
    desk: Desk,
    decoders: Decoders,
    model: ModelServer,
    long_recording: bytes,
    options: dict[str, Any],
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    job_id = desk.submit(long_recording, options)["id"]
    until(lambda: model.at_once > 0, 60)
    assert desk.job(job_id)["duration_s"] is None
    cancelled_at = time.monotonic()
    desk.http.delete(f"/v1/jobs/{job_id}")
    until(lambda: not list((desk.house.settings.data_dir / "spool").iterdir()))
    until(lambda: model.at_once == 0)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("listening")])
    assert time.monotonic() - cancelled_at < 20
    assert desk.job(job_id)["status"] == "cancelled"


@either_gain
def test_a_model_that_loads_costs_no_second_decoding(
    tmp_path: Path, model: ModelServer, short_recording: bytes, options: dict[str, Any]
) -> None:
    with Desk(tmp_path, model.url, retry_scale=1.0) as desk:
        until(lambda: desk.http.get("/ready").json()["checks"]["llm"] == "ok")
        model.ready = Reply(503, {"status": "loading", "progress": 0.4})
        job_id = desk.submit(short_recording, options)["id"]
        until(lambda: desk.job(job_id)["error"] is not None)
        view = desk.job(job_id)
        assert view["error"]["code"] == "model_not_ready"
        assert view["progress"]["windows_total"] > 0
        assert desk.http.get(f"/v1/jobs/{job_id}/overview").status_code == 200
        assert model.asked == []
        model.ready = Reply(body={"status": "ready"})
        assert desk.wait(job_id)["status"] == "completed"


def _interrupted(tmp_path: Path, model: ModelServer, content: bytes) -> str:
    """A job whose service was stopped when two windows were stored, perhaps while it decoded."""

    model.answer = quick(2)
    with Desk(tmp_path, model.url) as desk:
        job_id = str(desk.submit(content, AS_IS)["id"])
        until(lambda: desk.job(job_id)["progress"]["windows_done"] == 2, 60)
    return job_id


def test_after_a_stop_stored_windows_are_not_asked_for_again(
    tmp_path: Path, model: ModelServer, long_recording: bytes, windows: Sequence[bytes]
) -> None:
    job_id = _interrupted(tmp_path, model, long_recording)
    before = len(model.asked)
    model.answer = lambda asked: Reply(body=heard(asked))
    with Desk(tmp_path, model.url) as desk:
        view = desk.wait(job_id, timeout_s=120)
    assert view["status"] == "completed"
    assert len(model.asked) - before == len(windows) - 2
    assert {asked.wav[44:] for asked in model.asked} == set(windows)
    assert view["progress"]["windows_done"] == len(windows)


def test_results_of_other_windows_are_not_mixed_in(
    tmp_path: Path, model: ModelServer, long_recording: bytes, windows: Sequence[bytes]
) -> None:
    job_id = _interrupted(tmp_path, model, long_recording)
    with contextlib.closing(sqlite3.connect(tmp_path / "stenograf.db")) as database, database:
        ((stored,),) = database.execute("SELECT plan FROM recognitions").fetchall()
        plan = json.loads(stored)
        plan["windows"][0]["end"] -= 800  # as another version of the cutter would have it
        plan["complete"] = False  # it may have been found to its end by now
        database.execute("UPDATE recognitions SET plan = ?", (json.dumps(plan),))
    before = len(model.asked)
    model.answer = lambda asked: Reply(body=heard(asked))
    with Desk(tmp_path, model.url) as desk:
        view = desk.wait(job_id, timeout_s=120)
        assert view["status"] == "completed"
    assert sorted(asked.wav[44:] for asked in model.asked[before:]) == sorted(windows)
    assert view["progress"]["windows_done"] == len(windows)
    assert view["progress"]["done_s"] == pytest.approx(view["progress"]["total_s"])


def test_a_stored_window_can_be_read_while_the_file_is_decoded(
    desk: Desk, model: ModelServer, long_recording: bytes
) -> None:
    model.answer = quick(1)
    job_id = desk.submit(long_recording, AS_IS)["id"]
    until(lambda: desk.job(job_id)["progress"]["windows_done"] == 1, 60)
    url = f"/v1/jobs/{job_id}/transcript"
    segments = desk.http.get(url, params={"partial": True}).json()["segments"]
    assert segments[0]["text"] == "раз два"
    assert segments[0]["end"] > segments[0]["start"]
    desk.http.delete(f"/v1/jobs/{job_id}")
