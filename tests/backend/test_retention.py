"""Recordings that are removed by themselves when they are old."""

import time
from pathlib import Path

from sqlalchemy import update

from stenograf.backend.db import JobRow

from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard
from .sounds import noise, wav

DAY_S = 24 * 3600.0


def _age(desk: Desk, job_id: str, days: float) -> None:
    """Have a job look as if it was sent so long ago."""
    with desk.house.database.write() as session:
        sent_at = time.time() - days * DAY_S
        session.execute(update(JobRow).where(JobRow.id == job_id).values(created_at=sent_at))


def _ids(desk: Desk) -> set[str]:
    return {job["id"] for job in desk.http.get("/v1/jobs").json()["data"]}


def test_old_recordings_go_and_young_ones_stay(tmp_path: Path, model: ModelServer) -> None:
    with Desk(tmp_path, model.url) as desk:
        old, young = (desk.wait(desk.submit(wav(noise(n)))["id"])["id"] for n in (1, 2))
        twin = desk.wait(desk.submit(wav(noise(1)))["id"])["id"]  # the same sound, sent again
        failed = desk.wait(desk.submit(b"no sound")["id"])["id"]
        for job_id in (old, failed):
            _age(desk, job_id, 8)
        for job_id in (young, twin):
            _age(desk, job_id, 6)
        kept = len(list((tmp_path / "uploads").iterdir()))
    with Desk(tmp_path, model.url, history_keep_days=7) as desk:
        until(lambda: _ids(desk) == {young, twin})
        assert desk.http.get(f"/v1/jobs/{old}/transcript").status_code == 404
        assert desk.http.get(f"/v1/jobs/{twin}/transcript").status_code == 200
        assert desk.http.get(f"/v1/jobs/{twin}/audio").status_code == 200
        until(lambda: len(list((tmp_path / "uploads").iterdir())) == kept - 2)


def test_nothing_goes_unless_told(tmp_path: Path, model: ModelServer) -> None:
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.wait(desk.submit(wav(noise(1)))["id"])["id"]
        _age(desk, job_id, 10_000)
    with Desk(tmp_path, model.url) as desk:
        time.sleep(1.5)
        assert _ids(desk) == {job_id}


def test_work_is_finished_first(tmp_path: Path, model: ModelServer) -> None:
    def slow(asked: Asked) -> Reply:
        return Reply(body=heard(asked), delay_s=30)

    model.answer = slow
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(wav(noise(1)))["id"]
        _age(desk, job_id, 1)
        until(lambda: len(model.asked) == 1)
    with Desk(tmp_path, model.url, history_keep_days=0.5) as desk:
        until(lambda: len(model.asked) >= 2)
        time.sleep(1.5)
        assert desk.job(job_id)["status"] == "running"
