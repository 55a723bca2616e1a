"""Whatever JSON or query arrives, the answer is never a server error and always explains itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.options import TranscribeOptions

from .desk import Desk
from .model_server import ModelServer

FUZZ = settings(max_examples=60)
ANY_TEXT = st.text(st.characters(codec=None), max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def open_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    model = ModelServer()
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with Desk(folder, model.url) as desk:
        yield desk
    model.close()


def knobs() -> st.SearchStrategy[dict[str, object]]:
    """Options of the right names with values of any kind."""
    schema = TranscribeOptions().model_dump()
    groups = {
        group: st.fixed_dictionaries({}, optional=dict.fromkeys(fields, ANY_JSON))
        for group, fields in schema.items()
        if isinstance(fields, dict)
    }
    return st.fixed_dictionaries({}, optional={**groups, "model": ANY_JSON})


def explained(answer: object) -> None:
    status = answer.status_code  # type: ignore[attr-defined]
    assert status < 500
    if status >= 400:
        error = answer.json()["error"]  # type: ignore[attr-defined]
        assert error["code"]
        assert error["message"]
        assert error["request_id"] == answer.headers["x-request-id"]  # type: ignore[attr-defined]


@FUZZ
@given(body=ANY_JSON)
def test_any_json_for_a_job(open_desk: Desk, body: object) -> None:
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    explained(open_desk.http.post("/v1/jobs", content=content))


@FUZZ
@given(options=knobs(), title=ANY_JSON)
def test_any_options_and_title(open_desk: Desk, options: object, title: object) -> None:
    upload_id = open_desk.upload(b"nothing to hear")
    body = {"upload_id": upload_id, "options": options, "title": title}
    answer = open_desk.http.post(
        "/v1/jobs",
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    explained(answer)
    if answer.status_code == 201:
        open_desk.wait(answer.json()["id"])


@FUZZ
@given(
    query=st.fixed_dictionaries(
        {},
        optional={
            "q": st.text(max_size=300),
            "status": st.text(max_size=5) | st.sampled_from(["queued", "failed"]),
            "limit": st.integers().map(str) | st.text(max_size=4),
            "cursor": st.text(max_size=30),
            "purge": st.text(max_size=4),
            "format": st.text(max_size=10),
            "last_event_id": st.text(max_size=12),
        },
    ),
    path=st.sampled_from(["", "/x", "/x/events", "/x/transcript", "/x/audio", "/x/overview"]),
    method=st.sampled_from(["GET", "DELETE", "POST", "PUT", "PATCH"]),
)
def test_any_query(open_desk: Desk, query: dict[str, str], path: str, method: str) -> None:
    explained(open_desk.http.request(method, f"/v1/jobs{path}", params=query))


@FUZZ
@given(body=st.binary(max_size=200))
def test_any_bytes(open_desk: Desk, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    explained(open_desk.http.post("/v1/jobs", content=body, headers=headers))
    explained(open_desk.http.post("/get_answer/", content=body, headers=headers))
    form = {"content-type": "multipart/form-data; boundary=b"}
    explained(open_desk.http.post("/v1/audio/transcriptions", content=body, headers=form))


OLD_KNOBS = ("sending", "target_dB", "norm_algo", "original_sr", "chunk_size_sec")


@FUZZ
@given(
    body=st.fixed_dictionaries(
        {"user_id": ANY_TEXT, "chunk": ANY_JSON | st.lists(st.floats(), max_size=5)},
        optional=dict.fromkeys(OLD_KNOBS, ANY_JSON),
    )
)
def test_any_numbers_as_sound(open_desk: Desk, body: object) -> None:
    explained(open_desk.http.post("/get_answer/", content=json.dumps(body).encode()))


def test_deep_json_and_long_bodies(open_desk: Desk) -> None:
    headers = {"content-type": "application/json"}
    deep = b"[" * 100_000 + b"]" * 100_000
    explained(open_desk.http.post("/v1/jobs", content=deep, headers=headers))
    long = json.dumps({"upload_id": "x", "title": "я" * 2_000_000}).encode()
    answer = open_desk.http.post("/v1/jobs", content=long, headers=headers)
    assert answer.status_code == 413


def test_unknown_paths_and_methods_have_the_house_shape(open_desk: Desk) -> None:
    assert open_desk.http.get("/nowhere").json()["error"]["code"] == "not_found"
    assert open_desk.http.put("/v1/jobs").json()["error"]["code"] == "method_not_allowed"
