"""`/get_answer/` as the first version's clients call it, and what it must survive."""

import math
from pathlib import Path

import numpy as np
import pytest

from stenograf.backend.chunks import ChunkStore
from stenograf.contract.errors import BadRequest, TooLarge

from .conftest import Clock
from .desk import Desk
from .model_server import ModelServer
from .sounds import tone

URL = "/get_answer/"


def send(desk: Desk, **fields: object) -> object:
    answer = desk.http.post(URL, json={"user_id": "u", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_chunks_then_the_text(desk: Desk) -> None:
    sound = tone(2).tolist()
    assert send(desk, chunk=sound[:9000], sending=True) == {"response": "", "status": 200}
    assert send(desk, chunk=sound[9000:], sending=True) == {"response": "", "status": 200}
    answer = send(desk, chunk=[], sending=False, norm_algo="peak", chunk_size_sec=1)
    assert answer == {"response": "", "status": 200}
    job = desk.http.get("/v1/jobs").json()["data"][0]
    assert job["duration_s"] == 2.0
    assert job["options"]["normalize"]["method"] == "peak"
    assert job["options"]["cut"]["chunk_size_s"] == 1


def test_the_original_rate_is_honoured(desk: Desk) -> None:
    send(desk, chunk=tone(3).tolist(), original_sr=48_000)
    assert desk.http.get("/v1/jobs").json()["data"][0]["duration_s"] == 1.0


@pytest.mark.parametrize(
    ("given", "method", "target_db", "chunk_s"),
    [
        ({}, "rms", -10, 30),
        ({"norm_algo": "lufs", "target_dB": -99, "chunk_size_sec": 0}, "lufs", -40, 1),
        ({"norm_algo": "whatever", "target_dB": 5, "chunk_size_sec": 99}, "as is", -10, 30),
        ({"norm_algo": "as is", "chunk_size_sec": -3}, "as is", -10, 1),
    ],
)
def test_old_parameters(
    desk: Desk, given: dict[str, object], method: str, target_db: float, chunk_s: int
) -> None:
    send(desk, chunk=tone(0.5).tolist(), **given)
    options = desk.http.get("/v1/jobs").json()["data"][0]["options"]
    assert options["normalize"]["method"] == method
    assert options["normalize"]["target_db"] == target_db
    assert options["cut"]["chunk_size_s"] == chunk_s


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"[" * 100_000, 422),
        (b'{"user_id": "u", "chunk": [NaN]}', 422),
        (b'{"user_id": "u", "chunk": [Infinity, -Infinity]}', 422),
        (b'{"user_id": "u", "chunk": [1e39]}', 422),
        (b'{"user_id": "u", "chunk": [1e999]}', 422),
        (b'{"user_id": "u", "chunk": ["a"]}', 422),
        (b'{"user_id": "u", "chunk": null}', 422),
        (b'{"user_id": "", "chunk": []}', 422),
        (b'{"chunk": []}', 422),
        (b'{"user_id": "u", "chunk": [0], "original_sr": 0}', 422),
        (b'{"user_id": "u", "chunk": [0], "original_sr": 2000000000}', 422),
        (b'{"user_id": "u", "chunk": [0], "target_dB": NaN}', 422),
        (b'{"user_id": "u", "chunk": []}', 400),
        (b'{"user_id": "\\ud800", "chunk": []}', 422),
    ],
)
def test_what_is_wrong_is_a_4xx_with_a_sentence(desk: Desk, body: bytes, status: int) -> None:
    answer = desk.http.post(URL, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_refused_chunk_leaves_the_earlier_ones(desk: Desk) -> None:
    send(desk, chunk=tone(1).tolist(), sending=True)
    bad = b'{"user_id": "u", "chunk": [NaN], "sending": true}'
    assert desk.http.post(URL, content=bad).status_code == 422
    send(desk, chunk=[])
    assert desk.http.get("/v1/jobs").json()["data"][0]["duration_s"] == 1.0


def test_users_do_not_mix_and_begin_anew(desk: Desk) -> None:
    send(desk, chunk=tone(1).tolist(), sending=True)
    assert send(desk, user_id="v", chunk=tone(3).tolist()) is not None
    assert desk.http.get("/v1/jobs").json()["data"][0]["duration_s"] == 3.0
    send(desk, chunk=[])
    assert desk.http.get("/v1/jobs").json()["data"][0]["duration_s"] == 1.0
    assert desk.http.post(URL, json={"user_id": "u", "chunk": []}).status_code == 400
    assert list((desk.house.settings.data_dir / "chunks").iterdir()) == []


def test_a_body_that_is_too_large(tmp_path: Path, model: ModelServer) -> None:
    with Desk(tmp_path, model.url, max_get_answer_bytes=2000, max_upload_bytes=5000) as desk:
        answer = desk.http.post(URL, json={"user_id": "u", "chunk": [0.123456789] * 1000})
        assert answer.status_code == 413
        for _ in range(12):
            answer = desk.http.post(URL, json={"user_id": "u", "chunk": [0] * 400, "sending": True})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


def test_chunks_expire(tmp_path: Path, clock: Clock) -> None:
    store = ChunkStore(tmp_path, max_bytes=100, ttl_s=60, clock=clock)
    clock.now = math.inf
    store.add("u", np.zeros(5, np.float32))
    store.expire()
    with pytest.raises(BadRequest):
        store.take("u", 16_000)


def test_two_processes_do_not_mix_up_what_they_took(tmp_path: Path) -> None:
    stores = [ChunkStore(tmp_path / "chunks", max_bytes=100, ttl_s=60) for _ in range(2)]
    taken = []
    for number, store in enumerate(stores):
        store.add("u", np.full(5, number, np.float32))
        taken.append(store.take("u", 16_000)[0])
    for number, wav in enumerate(taken):
        assert b"".join(wav)[44:] == np.full(5, number, "<f4").tobytes()


def test_one_user_is_bounded(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path, max_bytes=40, ttl_s=60)
    store.add("u", np.zeros(10, np.float32))
    with pytest.raises(TooLarge):
        store.add("u", np.zeros(1, np.float32))
    store.add("v", np.zeros(1, np.float32))
    wav, n_bytes = store.take("u", 8000)
    assert len(b"".join(wav)) == n_bytes == 44 + 40
