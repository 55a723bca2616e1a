"""A model that was trained anew under its old name answers for itself, not its predecessor."""

from pathlib import Path

from .desk import Desk, until
from .model_server import ModelServer, Reply, heard, quick
from .sounds import noise, wav

SOUND = wav(noise(6))


def _serve(model: ModelServer, fingerprint: str | None, text: str) -> None:
    row = {"id": model.model, "object": "model", "fingerprint": fingerprint}
    model.models = Reply(body={"object": "list", "data": [row]})
    model.answer = lambda asked: Reply(body=heard(asked, f" {text}"))


def _text(desk: Desk, job_id: str) -> str:
    assert desk.wait(job_id)["status"] == "completed"
    answer = desk.http.get(f"/v1/jobs/{job_id}/transcript", params={"format": "txt"})
    return answer.text


def test_a_retrained_model_hears_the_recording_again(tmp_path: Path, model: ModelServer) -> None:
    texts = []
    for fingerprint, word in (("aa", "раз"), ("bb", "два"), ("aa", "три"), (None, "четыре")):
        _serve(model, fingerprint, word)
        with Desk(tmp_path, model.url) as desk:
            texts.append(_text(desk, desk.submit(SOUND)["id"]).split()[0])
    assert texts == ["раз", "два", "раз", "четыре"]


def test_a_server_without_fingerprints_is_asked_once(tmp_path: Path, model: ModelServer) -> None:
    for word in ("раз", "два"):
        model.answer = lambda asked, word=word: Reply(body=heard(asked, f" {word}"))
        with Desk(tmp_path, model.url) as desk:
            assert _text(desk, desk.submit(SOUND)["id"]).split()[0] == "раз"


def test_windows_of_other_weights_are_not_mixed_in(tmp_path: Path, model: ModelServer) -> None:
    _serve(model, "aa", "старое")
    model.answer = quick(2)
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(SOUND)["id"]
        until(lambda: desk.job(job_id)["progress"]["windows_done"] == 2)
    _serve(model, "bb", "новое")
    with Desk(tmp_path, model.url) as desk:
        assert set(_text(desk, job_id).split()) == {"новое"}


def test_windows_outlive_a_model_service_that_starts_again(
    tmp_path: Path, model: ModelServer
) -> None:
    _serve(model, "aa", "раз")
    model.answer = quick(2)
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(SOUND)["id"]
        until(lambda: desk.job(job_id)["progress"]["windows_done"] == 2)
    _serve(model, None, "три")
    with Desk(tmp_path, model.url) as desk:
        assert set(_text(desk, job_id).split()) == {"раз", "два", "три"}


def test_a_recording_sent_while_the_model_loads_finds_its_transcript(
    tmp_path: Path, model: ModelServer
) -> None:
    _serve(model, "aa", "раз")
    with Desk(tmp_path, model.url) as desk:
        known = _text(desk, desk.submit(SOUND)["id"])
    asked = len(model.asked)
    _serve(model, None, "два")
    ready, model.ready = model.ready, Reply(503, {"status": "loading", "progress": 0.5})
    with Desk(tmp_path, model.url) as desk:
        job_id = desk.submit(SOUND)["id"]
        until(lambda: desk.job(job_id)["error"] is not None)
    _serve(model, "aa", "три")
    model.ready = ready
    with Desk(tmp_path, model.url) as desk:
        assert _text(desk, job_id) == known
    assert len(model.asked) == asked
