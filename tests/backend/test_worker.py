"""Runs of the same recording that meet, and the folders they share."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stenograf.audio.decode import DecodeLimits
from stenograf.audio.vad import VoiceDetector
from stenograf.backend.engine import EngineClient
from stenograf.backend.lanes import OpenLane
from stenograf.backend.pipeline import Tools
from stenograf.backend.spools import Spools
from stenograf.backend.worker import Worker
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions

from ..waiting import all_at_once
from .conftest import Tables, content
from .desk import NO_VAD
from .model_server import ModelServer
from .sounds import noise, wav

OPTIONS = TranscribeOptions.model_validate(NO_VAD)


class House:
    """A worker whose first run does not find its file before it is told."""

    def __init__(self, folder: Path, tables: Tables, model: ModelServer) -> None:
        self.go_on = threading.Event()
        self.began = threading.Event()
        self.sound = folder / "sound.wav"
        self.sound.write_bytes(wav(noise(3)))
        self.spools = folder / "spool"
        self.engine = EngineClient(model.url)
        tools = Tools(self.engine, VoiceDetector(), DecodeLimits(min_free_bytes=0), 2)
        self.lane = OpenLane(tables.ledger)
        self.worker = Worker(
            tables.ledger,
            tools,
            spools=Spools(self.spools),
            path_of=self._path_of,
            publish=lambda _: None,
        )

    def _path_of(self, _: str) -> Path:
        if not self.began.is_set():
            self.began.set()
            self.go_on.wait(120)
        return self.sound


@pytest.fixture
def house(tmp_path: Path, tables: Tables, model: ModelServer) -> Iterator[House]:
    house = House(tmp_path, tables, model)
    yield house
    house.go_on.set()
    house.engine.close()


def test_a_recording_asked_for_again_does_not_wait_for_the_cancelled_run(
    house: House, tables: Tables
) -> None:
    job_id = tables.jobs.submit(content(), OPTIONS, "", "model-a").id
    stuck = threading.Thread(target=house.worker.process_next, args=(house.lane,), daemon=True)
    stuck.start()
    assert house.began.wait(60)
    _, unwanted = tables.jobs.cancel(job_id)
    assert unwanted is not None
    house.worker.cancel(unwanted)
    tables.jobs.retry(job_id)
    again = threading.Thread(target=house.worker.process_next, args=(house.lane,), daemon=True)
    again.start()
    again.join(60)
    assert tables.jobs.get(job_id).status is JobStatus.COMPLETED
    house.go_on.set()
    stuck.join(60)
    assert not stuck.is_alive()
    assert tables.jobs.get(job_id).status is JobStatus.COMPLETED
    assert list(house.spools.iterdir()) == []


def test_a_cancel_that_comes_late_does_not_cost_the_next_run_its_lease(
    house: House, tables: Tables
) -> None:
    job_id = tables.jobs.submit(content(), OPTIONS, "", "model-a").id
    run = threading.Thread(target=house.worker.process_next, args=(house.lane,), daemon=True)
    run.start()
    assert house.began.wait(60)
    recognition = tables.recovery.unfinished().pop()
    house.worker.cancel(recognition)  # of the run before, which is over by now
    house.go_on.set()
    run.join(60)
    assert tables.jobs.get(job_id).status is JobStatus.QUEUED
    assert house.worker.process_next(house.lane)
    assert tables.jobs.get(job_id).status is JobStatus.COMPLETED


def test_a_folder_that_is_used_stays(tmp_path: Path) -> None:
    spools, others = Spools(tmp_path), Spools(tmp_path)
    with spools.used("a") as folder, others.used("a") as the_same:
        assert folder == the_same
        (folder / "sound").touch()
        spools.forget("a")
        others.clean([])
        assert (folder / "sound").exists()
    (tmp_path / "stray file").touch()
    others.clean(["a"])
    assert (folder / "sound").exists()
    others.clean([])
    assert not folder.exists()


def test_folders_come_and_go_under_many_hands(tmp_path: Path) -> None:
    def use(n: int) -> None:
        spools = Spools(tmp_path)
        for _ in range(400):
            if n % 2:
                spools.forget("a")
                continue
            with spools.used("a") as folder:
                mine = folder / f"{n}"
                mine.write_text("")
                time.sleep(0.0005)
                assert mine.exists()

    all_at_once(8, use)
    Spools(tmp_path).clean([])
    assert list(tmp_path.iterdir()) == []
