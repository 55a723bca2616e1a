"""Jobs from the upload to the transcript, through the front door."""

import json
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from ..servers import free_port
from .desk import NO_VAD, Desk, until
from .model_server import Asked, ModelServer, Reply, heard, quick
from .sounds import noise, silence, tone, wav


def test_windows_reach_the_model_once_with_their_options(desk: Desk, model: ModelServer) -> None:
    options = {
        "cut": {"vad": False, "chunk_size_s": 2},
        "decode": {"prompt": "Иванов", "beam_size": 3},
    }
    view = desk.wait(desk.submit(wav(noise(9)), options)["id"])
    assert view["status"] == "completed"
    assert sum(asked.n_samples for asked in model.asked) == 9 * 16_000
    assert all(asked.n_samples <= 2 * 16_000 for asked in model.asked)
    assert view["progress"]["windows_total"] == len(model.asked) == view["progress"]["windows_done"]
    assert view["progress"]["done_s"] == view["progress"]["total_s"] == 9.0
    fields = model.asked[0].fields
    assert fields["language"] == ["ru"]
    assert fields["prompt"] == ["Иванов"]
    assert fields["beam_size"] == ["3"]
    assert fields["model"] == ["model-a"]
    assert fields["timestamp_granularities[]"] == ["segment", "word"]


def test_transcript_is_in_file_time_and_in_every_format(desk: Desk, model: ModelServer) -> None:
    job_id = desk.wait(desk.submit(wav(noise(5)))["id"])["id"]
    url = f"/v1/jobs/{job_id}/transcript"
    transcript = desk.http.get(url).json()
    assert transcript["text"] == " ".join(["раз два"] * len(model.asked))
    assert transcript["model"] == "model-a"
    starts = [segment["start"] for segment in transcript["segments"]]
    assert starts == sorted(starts)
    assert transcript["segments"][-1]["end"] == 5 * 16_000
    for format in ("txt", "json", "verbose_json", "srt", "vtt", "tsv"):
        answer = desk.http.get(url, params={"format": format, "download": True})
        assert answer.status_code == 200
        assert "filename*=UTF-8''%D0%B7" in answer.headers["content-disposition"]
    assert desk.http.get(url, params={"format": "docx"}).status_code == 415


def test_gain_of_the_options_reaches_the_model(desk: Desk, model: ModelServer) -> None:
    options = NO_VAD | {"normalize": {"method": "peak", "target_peak": 0.5}}
    desk.wait(desk.submit(wav(tone(1) / 10), options)["id"])
    samples = np.frombuffer(model.asked[0].wav[44:], "<i2")
    assert np.abs(samples).max() / 32768 == pytest.approx(0.5, abs=0.01)


def test_windows_in_flight_are_bounded_and_used(tmp_path: Path, model: ModelServer) -> None:
    def when_three_are_there(asked: Asked) -> Reply:
        until(lambda: model.most_at_once >= 3)
        return Reply(body=heard(asked), delay_s=0.05)

    model.answer = when_three_are_there
    with Desk(tmp_path, model.url, windows_in_flight=3) as desk:
        desk.wait(desk.submit(wav(noise(20)))["id"])
    assert model.most_at_once == 3


def test_the_first_window_is_at_the_model_before_the_others(
    tmp_path: Path, model: ModelServer
) -> None:
    """Else it would share a batch with them, and its text would wait for theirs."""
    arrived: list[float] = []

    def slowly(asked: Asked) -> Reply:
        arrived.append(time.monotonic())
        return Reply(body=heard(asked), delay_s=2.0 if len(arrived) == 1 else 0.0)

    model.answer = slowly
    with Desk(tmp_path, model.url, windows_in_flight=8) as desk:
        desk.wait(desk.submit(wav(noise(20)))["id"])
    assert arrived[1] - arrived[0] > 0.1
    assert model.most_at_once > 1  # but nobody waits for its answer


def test_windows_tell_the_model_which_of_them_belong_together(
    tmp_path: Path, model: ModelServer
) -> None:
    with Desk(tmp_path, model.url, workers=2) as desk:
        for view in [desk.submit(wav(noise(6, seed=seed))) for seed in (1, 2)]:
            desk.wait(view["id"])
    names = [asked.recording for asked in model.asked]
    assert len(set(names)) == 2
    assert all(names.count(name) == len(names) // 2 for name in names)


@pytest.mark.parametrize(
    "sound", [silence(2), noise(2), tone(2), silence(0.1)], ids=["silence", "noise", "sine", "bit"]
)
def test_no_speech_is_a_completed_job_with_a_reason(
    desk: Desk, model: ModelServer, sound: np.ndarray
) -> None:
    view = desk.wait(desk.submit(wav(sound), {})["id"])
    assert view["status"] == "completed"
    transcript = desk.http.get(f"/v1/jobs/{view['id']}/transcript").json()
    assert transcript["text"] == ""
    assert [warning["code"] for warning in transcript["warnings"]] == ["no_speech"]
    assert model.asked == []


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "undecodable_audio"), ("не звук\n".encode() * 50, "unsupported_format")],
)
def test_what_is_no_recording_fails_with_its_reason(desk: Desk, content: bytes, code: str) -> None:
    view = desk.wait(desk.submit(content)["id"])
    assert view["status"] == "failed"
    assert view["error"]["code"] == code
    answer = desk.http.get(f"/v1/jobs/{view['id']}/transcript")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "not_finished"


def test_the_same_recording_is_recognized_once(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.1)
    ids = [desk.submit(wav(noise(3)))["id"] for _ in range(4)]
    assert {desk.wait(job_id)["status"] for job_id in ids} == {"completed"}
    assert sum(asked.n_samples for asked in model.asked) == 3 * 16_000
    desk.wait(desk.submit(wav(noise(3)))["id"])
    assert sum(asked.n_samples for asked in model.asked) == 3 * 16_000


def test_cancel_ends_the_waiting_request_at_once(desk: Desk, model: ModelServer) -> None:
    model.answer = quick(0)
    job_id = desk.submit(wav(noise(10)))["id"]
    until(lambda: model.at_once == 2)
    cancelled_at = time.monotonic()
    view = desk.http.delete(f"/v1/jobs/{job_id}").json()
    assert view["status"] == "cancelled"
    until(lambda: model.gone_clients == 2)
    assert time.monotonic() - cancelled_at < 20
    until(lambda: not list((desk.house.settings.data_dir / "spool").iterdir()))
    model.answer = lambda asked: Reply(body=heard(asked))
    assert desk.wait(desk.submit(wav(noise(1, seed=5)))["id"])["status"] == "completed"


def test_cancelled_job_goes_on_after_retry_with_its_windows(desk: Desk, model: ModelServer) -> None:
    model.answer = quick(2)
    job_id = desk.submit(wav(noise(10)))["id"]
    until(lambda: desk.job(job_id)["progress"]["windows_done"] == 2 and model.at_once == 2)
    desk.http.delete(f"/v1/jobs/{job_id}")
    until(lambda: model.gone_clients == 2)
    model.answer = lambda asked: Reply(body=heard(asked))
    assert desk.http.post(f"/v1/jobs/{job_id}/retry").status_code == 200
    view = desk.wait(job_id)
    assert view["status"] == "completed"
    assert len(model.asked) == view["progress"]["windows_total"] + 2


def test_asked_again_right_after_the_cancel(tmp_path: Path, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    with Desk(tmp_path, model.url, workers=3) as desk:
        for _ in range(5):
            job_id = desk.submit(wav(noise(10)))["id"]
            desk.wait(job_id, "running")
            desk.http.delete(f"/v1/jobs/{job_id}")
        model.answer = lambda asked: Reply(body=heard(asked))
        assert desk.wait(desk.submit(wav(noise(10)))["id"])["status"] == "completed"


def test_purge_leaves_nothing(desk: Desk, model: ModelServer) -> None:
    view = desk.wait(desk.submit(wav(noise(2)))["id"])
    assert desk.http.delete(f"/v1/jobs/{view['id']}?purge=true").status_code == 204
    assert desk.http.get(f"/v1/jobs/{view['id']}").status_code == 404
    data = desk.house.settings.data_dir
    assert list((data / "uploads").iterdir()) == []
    until(lambda: list((data / "spool").iterdir()) == [])
    assert desk.house.recovery.unfinished() == set()


def test_purging_a_running_job_ends_its_work(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    job_id = desk.submit(wav(noise(4)))["id"]
    until(lambda: model.at_once > 0)
    desk.http.delete(f"/v1/jobs/{job_id}?purge=true")
    until(lambda: model.at_once == 0)
    until(lambda: not list((desk.house.settings.data_dir / "spool").iterdir()))


def test_transient_failures_are_tried_again_and_end(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda _: Reply(500, {"error": {"message": "out of luck"}})
    view = desk.wait(desk.submit(wav(noise(1)))["id"])
    assert view["status"] == "failed"
    assert view["error"]["code"] == "unavailable"
    assert len(model.asked) == 3


def test_permanent_failures_are_not_tried_again(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda _: Reply(400, {"error": {"message": "unknown language"}})
    view = desk.wait(desk.submit(wav(noise(1)))["id"])
    assert view["status"] == "failed"
    assert view["error"]["message"] == "The model service said: unknown language"
    assert len(model.asked) == 1


def test_a_busy_model_is_asked_again(desk: Desk, model: ModelServer) -> None:
    def busy_once(asked: Asked) -> Reply:
        if len(model.asked) == 1:
            return Reply(429, {"error": {"code": "overloaded", "message": "busy"}})
        return Reply(body=heard(asked))

    model.answer = busy_once
    assert desk.wait(desk.submit(wav(noise(1)))["id"])["status"] == "completed"
    assert len(model.asked) == 2


def test_a_shutdown_while_the_model_is_busy_keeps_the_job(
    tmp_path: Path, model: ModelServer
) -> None:
    model.answer = lambda _: Reply(429, {"error": {"code": "overloaded", "message": "busy"}})
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(wav(noise(3)))["id"]
        until(lambda: len(model.asked) >= 2)
    model.answer = lambda asked: Reply(body=heard(asked))
    with Desk(tmp_path, model.url) as desk:
        assert desk.wait(job_id)["status"] == "completed"


def test_a_broken_connection_is_tried_again(desk: Desk, model: ModelServer) -> None:
    def break_once(asked: Asked) -> Reply:
        return Reply(body=heard(asked), hang_up=len(model.asked) == 1)

    model.answer = break_once
    assert desk.wait(desk.submit(wav(noise(1)))["id"])["status"] == "completed"


def test_jobs_wait_for_a_model_that_loads_and_start_by_themselves(
    tmp_path: Path, model: ModelServer
) -> None:
    with Desk(tmp_path, model.url, retry_scale=1.0) as desk:
        _wait_for_the_model(desk, model)


def _wait_for_the_model(desk: Desk, model: ModelServer) -> None:
    model.ready = Reply(503, {"status": "loading", "progress": 0.4})
    job_id = desk.submit(wav(noise(1)))["id"]
    until(lambda: desk.job(job_id)["error"] is not None)
    view = desk.job(job_id)
    assert view["status"] == "queued"
    assert view["error"]["code"] == "model_not_ready"
    assert "40%" in view["error"]["message"]
    assert desk.http.get(f"/v1/jobs/{job_id}/overview").status_code == 200
    assert model.asked == []
    model.ready = Reply(body={"status": "ready"})
    assert desk.wait(job_id)["status"] == "completed"


def test_a_model_service_that_dies_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    first = ModelServer(port)

    def dies_at_third(asked: Asked) -> Reply:
        return Reply(body=heard(asked), hang_up=len(first.asked) > 2)

    first.answer = dies_at_third
    with Desk(tmp_path, first.url, retry_scale=1.0, windows_in_flight=1) as desk:
        job_id = desk.submit(wav(noise(10)))["id"]
        until(lambda: len(first.asked) > 2)
        first.close()
        until(lambda: desk.job(job_id)["status"] == "queued")
        time.sleep(1.5)
        second = ModelServer(port)
        view = desk.wait(job_id)
        second.close()
    assert view["status"] == "completed"
    assert len(second.asked) == view["progress"]["windows_total"] - 2


def test_an_upload_that_is_not_there_or_not_complete(desk: Desk) -> None:
    answer = desk.http.post("/v1/jobs", json={"upload_id": "nope"})
    assert answer.status_code == 404
    upload = desk.house.service.uploads.create(10, {})
    answer = desk.http.post("/v1/jobs", json={"upload_id": upload.id})
    assert answer.status_code == 409


def test_a_full_queue_says_when_to_come_back(tmp_path: Path, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    with Desk(tmp_path, model.url, max_queued_jobs=1) as desk:
        first = desk.submit(wav(noise(1)))["id"]
        desk.wait(first, "running")
        desk.submit(wav(noise(2)))
        body = {"upload_id": desk.upload(wav(noise(3)))}
        answer = desk.http.post("/v1/jobs", json=body)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert not desk.house.service.uploads.info(body["upload_id"]).claimed
        desk.http.delete(f"/v1/jobs/{first}")


def test_a_shutdown_keeps_finished_windows_and_the_next_start_goes_on(
    tmp_path: Path, model: ModelServer
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.3)
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(wav(noise(40)))["id"]
        until(lambda: len(model.asked) >= 4)
    asked_before = len(model.asked)
    with Desk(tmp_path, model.url) as desk:
        view = desk.wait(job_id)
        assert view["status"] == "completed"
        assert len(model.asked) == view["progress"]["windows_total"]
        assert asked_before < len(model.asked)


def test_events_tell_everything_once(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.1)
    job_id = desk.submit(wav(noise(8)))["id"]
    seen = read_events(desk, job_id)
    names = [name for name, _, _ in seen]
    assert names[0] == "status"
    assert names[-1] == "done"
    numbers = [int(number) for name, number, _ in seen if name == "window"]
    assert numbers == list(range(1, len(model.asked) + 1))
    done = json.loads(seen[-1][2])
    assert done["status"] == "completed"
    assert any(json.loads(data)["windows_done"] for name, _, data in seen if name == "progress")


def test_events_resume_after_the_last_one_seen(desk: Desk, model: ModelServer) -> None:
    job_id = desk.wait(desk.submit(wav(noise(8)))["id"])["id"]
    total = len(model.asked)
    for how in ({"headers": {"Last-Event-ID": "2"}}, {"params": {"last_event_id": "2"}}):
        numbers = [n for name, n, _ in read_events(desk, job_id, **how) if name == "window"]
        assert numbers == [str(n) for n in range(3, total + 1)]
    assert desk.http.get("/v1/jobs/none/events").status_code == 404


def read_events(desk: Desk, job_id: str, **how: object) -> list[tuple[str, str, str]]:
    body = desk.events(job_id, **how)
    events = []
    for block in body.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line[:1] not in ("", ":")
        )
        if "event" in fields:
            events.append((fields["event"], fields.get("id", ""), fields["data"]))
    return events


def test_audio_comes_back_in_ranges_and_cannot_run_as_a_page(desk: Desk) -> None:
    content = wav(noise(1))
    job_id = desk.wait(desk.submit(content)["id"])["id"]
    url = f"/v1/jobs/{job_id}/audio"
    assert desk.http.get(url).content == content
    part = desk.http.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == content[100:200]
    assert part.headers["x-content-type-options"] == "nosniff"
    assert desk.http.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
    for none in ("bytes=5-2", "bytes=a-b", "bytes=", "items=0-1", "bytes=0-" + "9" * 5000):
        whole = desk.http.get(url, headers={"Range": none})
        assert (whole.status_code, whole.content) == (200, content), none
    uploads = desk.house.service.uploads
    page = uploads.create(len(content), {"filename": "x.html", "filetype": "text/html"})
    uploads.append(page.id, 0, [content])
    hostile = desk.http.post("/v1/jobs", json={"upload_id": page.id}).json()["id"]
    answer = desk.http.get(f"/v1/jobs/{hostile}/audio")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_overview_draws_the_recording_and_tells_the_gain(desk: Desk) -> None:
    options = NO_VAD | {"normalize": {"method": "peak", "target_peak": 0.9}}
    job_id = desk.wait(desk.submit(wav(tone(2)), options)["id"])["id"]
    overview = desk.http.get(f"/v1/jobs/{job_id}/overview").json()
    assert len(overview["minimum"]) == len(overview["maximum"]) <= 2000
    assert overview["bucket_s"] * len(overview["minimum"]) >= 2.0
    assert overview["gain"] == pytest.approx(3.0, rel=0.01)
    assert overview["levels"]["method"] == "peak"


def test_partial_transcript_while_running(desk: Desk, model: ModelServer) -> None:
    model.answer = quick(2)
    job_id = desk.submit(wav(noise(10)))["id"]
    until(lambda: desk.job(job_id)["progress"]["windows_done"] == 2)
    url = f"/v1/jobs/{job_id}/transcript"
    assert desk.http.get(url).status_code == 409
    part = desk.http.get(url, params={"partial": True, "format": "txt"})
    assert part.text.split() == ["раз", "два"] * 2
    desk.http.delete(f"/v1/jobs/{job_id}")


def test_an_engine_that_spells_words_only_inside_segments(desk: Desk, model: ModelServer) -> None:
    def nested(asked: Asked) -> Reply:
        answer = heard(asked)
        answer["segments"][0]["words"] = answer.pop("words")
        return Reply(body=answer)

    model.answer = nested
    job_id = desk.wait(desk.submit(wav(noise(1)))["id"])["id"]
    transcript = desk.http.get(f"/v1/jobs/{job_id}/transcript").json()
    assert [word["text"] for word in transcript["segments"][0]["words"]] == ["раз", "два"]


def test_cancel_ends_the_decoding_process(desk: Desk, tmp_path: Path) -> None:
    """Two hours of FLAC silence: small to send, long to decode."""
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for _ in range(120):
            file.write(np.zeros(60 * 8000, np.int16))
    job_id = desk.submit(path.read_bytes())["id"]
    me = psutil.Process()

    def decoders() -> list[psutil.Process]:
        alive = [c for c in me.children() if c.status() != psutil.STATUS_ZOMBIE]
        servers = [c for c in alive if "decode_server" in " ".join(c.cmdline())]
        return [child for server in servers for child in server.children()]

    (child,) = until(decoders)
    cancelled_at = time.monotonic()
    desk.http.delete(f"/v1/jobs/{job_id}")
    until(lambda: not child.is_running())
    assert time.monotonic() - cancelled_at < 20
    assert desk.job(job_id)["status"] == "cancelled"


def test_headers_for_pages_on_other_origins(desk: Desk) -> None:
    page = {"Origin": "http://localhost:8010"}
    answer = desk.http.get("/v1/options", headers=page)
    assert answer.headers["access-control-allow-origin"] == page["Origin"]
    assert "Upload-Offset" in answer.headers["access-control-expose-headers"]
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    foreign = desk.http.get("/v1/options", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    asking = page | {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type",
    }
    assert desk.http.options("/files/x", headers=asking).status_code == 200


def test_request_ids_are_given_and_echoed(desk: Desk) -> None:
    given = desk.http.get("/health", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    bad = desk.http.get("/health", headers={"X-Request-Id": "a b<script>"})
    assert len(bad.headers["x-request-id"]) == 32
