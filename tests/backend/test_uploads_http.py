"""The wire: dead connections, rivals, odd requests. A real server process, raw sockets."""

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.backend.api import tus
from stenograf.backend.api.uploads import EXPOSED_HEADERS, router
from stenograf.backend.uploads import UploadStore

from .desk import until
from .tus_peers import CHUNK, VERSION, Peer, digest, encoded, ours

DATA = bytes(range(256)) * 4000  # 1 024 000 bytes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def peer(root: Path) -> Iterator[Peer]:
    with ours(root) as peer:
        yield peer


@contextlib.contextmanager
def _half_patch(peer: Peer, path: str, sent: bytes, announced: int) -> Iterator[socket.socket]:
    """A connection that announces more than it sends and then says nothing."""
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n\r\n"
    )
    with peer.connect() as client:
        client.sendall(head.encode() + sent)
        yield client


def _assert_content(root: Path, path: str, data: bytes) -> None:
    folder = root / path.rsplit("/", 1)[-1]
    assert (folder / "content").read_bytes() == data
    info = json.loads((folder / "info.json").read_text())
    assert info["sha256"] == hashlib.sha256(data).hexdigest()


def test_closed_connection_keeps_what_came(tmp_path: Path) -> None:
    with ours(tmp_path, stall_s=120, patience_s=50) as peer:  # who waits for a stall is refused
        path = peer.create(len(DATA))
        with _half_patch(peer, path, DATA[:400_000], len(DATA)):
            until(lambda: peer.offset(path) == 400_000)
        assert peer.patch(path, 400_000, DATA[400_000:]).status == 204
    _assert_content(tmp_path, path, DATA)


def test_silent_connection_gives_way_to_the_new_one(peer: Peer, root: Path) -> None:
    path = peer.create(len(DATA))
    with _half_patch(peer, path, DATA[:400_000], len(DATA)) as dead:
        until(lambda: peer.offset(path) == 400_000)
        assert peer.patch(path, 400_000, DATA[400_000:]).status == 204
        assert dead.recv(1000).startswith(b"HTTP/1.1 423 ")
    _assert_content(root, path, DATA)


def test_rival_of_a_busy_connection_is_told_to_wait(peer: Peer, root: Path) -> None:
    path = peer.create(len(DATA))
    answered = threading.Event()
    with _half_patch(peer, path, b"", len(DATA)) as busy:

        def feed() -> None:
            for start in range(0, len(DATA), 4_000):
                busy.sendall(DATA[start : start + 4_000])
                answered.wait(0.05)

        feeding = threading.Thread(target=feed)
        feeding.start()
        until(lambda: peer.offset(path) > 0)
        answer = peer.patch(path, peer.offset(path), b"rival")
        answered.set()
        assert answer.status in (409, 423)  # 409 when the offset moved on before the lock
        if answer.status == 423:
            assert answer.headers["Retry-After"] == "1"
        feeding.join()
        assert busy.recv(1000).startswith(b"HTTP/1.1 204 ")
    _assert_content(root, path, DATA)


def test_removal_in_the_middle_of_a_chunk(peer: Peer, root: Path) -> None:
    path = peer.create(len(DATA))
    with _half_patch(peer, path, DATA[:1000], len(DATA)) as sender:
        until(lambda: peer.offset(path) == 1000)
        assert peer.ask("DELETE", path, VERSION).status == 204
        assert sender.recv(1000).startswith(b"HTTP/1.1 404 ")
    assert not (root / path.rsplit("/", 1)[-1]).exists()


def test_creation_that_breaks_off_leaves_nothing(peer: Peer, root: Path) -> None:
    before = set(root.iterdir())
    head = (
        "POST /files HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 100\r\n"
        "Content-Type: application/offset+octet-stream\r\nContent-Length: 100\r\n\r\n"
    )
    with peer.connect() as client:
        client.sendall(head.encode() + b"half")
        until(lambda: set(root.iterdir()) != before)
    until(lambda: set(root.iterdir()) == before)


def test_body_of_unknown_length(peer: Peer, root: Path) -> None:
    path = peer.create(1000)
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        "Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    pieces = b"".join(b"%x\r\n%s\r\n" % (500, DATA[i : i + 500]) for i in (0, 500))
    with peer.connect() as client:
        client.sendall(head.encode() + pieces + b"0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 204 ")
    _assert_content(root, path, DATA[:1000])
    path = peer.create(999)
    with peer.connect() as client:
        client.sendall(head.replace(head.split()[1], path).encode() + pieces + b"0\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert peer.offset(path) < 999


@pytest.mark.parametrize(
    ("root_path", "asked", "location"),
    [
        ("", "/files", r"/files/\w+"),
        ("", "/files/", r"\w+"),
        ("/api", "/files", r"/api/files/\w+"),
        ("/api", "/api/files", r"/api/files/\w+"),
    ],
)
def test_location_is_relative_to_what_was_asked(
    tmp_path: Path, root_path: str, asked: str, location: str
) -> None:
    lies = {"Host": "evil", "X-Forwarded-Host": "evil", "Forwarded": "host=evil;proto=https"}
    with TestClient(_app(tmp_path), root_path=root_path) as client:
        answer = client.post(asked, headers=VERSION | {"Upload-Length": "1"} | lies)
    assert answer.status_code == 201
    assert re.fullmatch(location, answer.headers["Location"])


def test_expiry_is_announced_until_the_upload_is_complete(tmp_path: Path) -> None:
    with TestClient(_app(tmp_path)) as client:
        made = client.post("/files", headers=VERSION | {"Upload-Length": "4"})
        path = made.headers["Location"]
        part = client.patch(path, headers=VERSION | CHUNK | {"Upload-Offset": "0"}, content=b"12")
        last = client.patch(path, headers=VERSION | CHUNK | {"Upload-Offset": "2"}, content=b"34")
    for answer in (made, part):
        expires = parsedate_to_datetime(answer.headers["Upload-Expires"])
        assert 3500 < expires.timestamp() - time.time() < 3601
    assert "Upload-Expires" not in last.headers


def test_every_answer_header_may_be_read_by_a_page(tmp_path: Path) -> None:
    answers = []
    with TestClient(_app(tmp_path)) as client:
        answers.append(client.options("/files"))
        answers.append(client.post("/files", headers=VERSION | {"Upload-Defer-Length": "1"}))
        path = answers[-1].headers["Location"]
        answers.append(client.head(path, headers=VERSION))
        meta = {"Upload-Length": "4", "Upload-Metadata": encoded(filename="a")}
        answers.append(client.post("/files", headers=VERSION | meta))
        path = answers[-1].headers["Location"]
        answers.append(client.head(path, headers=VERSION))
        answers.append(
            client.patch(path, headers=VERSION | CHUNK | {"Upload-Offset": "0"}, content=b"1")
        )
        answers.append(client.delete(path, headers={}))
    seen = {name.lower() for answer in answers for name in answer.headers}
    always = {"content-length", "content-type", "cache-control"}  # readable without being named
    assert seen - always == {name.lower() for name in EXPOSED_HEADERS} - {"retry-after"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "HEAD"])
def test_method_override(tmp_path: Path, method: str) -> None:
    with TestClient(_app(tmp_path)) as client:
        path = client.post("/files", headers=VERSION | {"Upload-Length": "4"}).headers["Location"]
        headers = VERSION | CHUNK | {"Upload-Offset": "0", "X-HTTP-Method-Override": method}
        answer = client.post(path, headers=headers, content=b"1234")
        assert answer.status_code == {"PATCH": 204, "DELETE": 204, "HEAD": 200}[method]
        after = client.head(path, headers=VERSION)
    if method == "DELETE":
        assert after.status_code == 404
    else:
        assert after.headers["Upload-Offset"] == {"PATCH": "4", "HEAD": "0"}[method]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"Tus-Resumable": "2.0.0"}, 412, "unsupported_version"),
        ({"Upload-Length": "-1"}, 400, "invalid_request"),
        ({"Upload-Length": "1000001"}, 413, "too_large"),
        ({"Upload-Metadata": "a " + "A" * 8192}, 400, "invalid_request"),
        ({"Upload-Metadata": "ключ YQ==".encode().decode("latin-1")}, 400, "invalid_request"),
        ({"X-HTTP-Method-Override": "PATCH"}, 405, "method_not_allowed"),
        ({"X-HTTP-Method-Override": "TRACE"}, 405, "method_not_allowed"),
    ],
)
def test_errors_have_the_house_shape_and_tus_headers(
    tmp_path: Path, changed: dict[str, str], status: int, code: str
) -> None:
    headers = {**VERSION, "Upload-Length": "1", **changed}
    with TestClient(_app(tmp_path)) as client:
        answer = client.post(
            "/files",
            headers={k: v.encode("latin-1") for k, v in headers.items()},
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert ("Tus-Version" in answer.headers) == (status == 412)
    assert list(tmp_path.iterdir()) == []


def test_header_given_twice_is_refused(tmp_path: Path) -> None:
    pairs = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "1"), ("Upload-Length", "2")]
    with TestClient(_app(tmp_path)) as client:
        assert client.post("/files", headers=pairs).status_code == 400


def test_full_disk_is_said_in_time_and_in_the_middle(tmp_path: Path) -> None:
    free = [500]
    store = UploadStore(tmp_path, max_bytes=10**6, free_bytes=lambda _: free[0])
    app = FastAPI()
    app.include_router(router(store))
    with TestClient(app) as client:
        assert client.options("/files").headers["Tus-Max-Size"] == "500"
        refused = client.post("/files", headers=VERSION | {"Upload-Length": "501"})
        assert refused.status_code == 413
        assert "500" in refused.json()["error"]["message"]
        path = client.post("/files", headers=VERSION | {"Upload-Length": "400"}).headers["Location"]
        free[0] = 10
        headers = VERSION | CHUNK | {"Upload-Offset": "0"}
        answer = client.patch(path, headers=headers, content=bytes(400))
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "out_of_resources")
        free[0] = 500
        assert client.patch(path, headers=headers, content=bytes(400)).status_code == 204
    store.close()


def test_checksums_over_the_wire(tmp_path: Path) -> None:
    with TestClient(_app(tmp_path)) as client:
        path = client.post("/files", headers=VERSION | {"Upload-Length": "12"}).headers["Location"]
        for index, algorithm in enumerate(tus.CHECKSUMS):
            headers = VERSION | CHUNK | {"Upload-Offset": str(4 * index)}
            wrong = headers | {"Upload-Checksum": digest(algorithm, b"else")}
            assert client.patch(path, headers=wrong, content=b"1234").status_code == 460
            right = headers | {"Upload-Checksum": digest(algorithm, b"1234")}
            assert client.patch(path, headers=right, content=b"1234").status_code == 204
        made = client.post(
            "/files",
            headers=VERSION
            | CHUNK
            | {"Upload-Length": "4", "Upload-Checksum": digest("md5", b"else")},
            content=b"1234",
        )
        assert made.status_code == 460
        assert len(list(tmp_path.iterdir())) == 1  # nobody could go on with the second


_VALUES = st.one_of(
    st.sampled_from(
        [
            *("1.0.0", "1", "0", "5", "-1", "", " ", "9" * 18, "9" * 19, "9" * 400, "0x1", "1,2"),
            *("a YQ==", "sha1 AAAA", "PATCH", "HEAD", "final;", "application/offset+octet-stream"),
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f")),
)
_NAMES = st.sampled_from([*tus.REQUEST_HEADERS, "Upload-Concat", "Content-Encoding", "Accept"])


@settings(max_examples=200)
@given(
    method=st.sampled_from([*tus.METHODS, "GET", "PUT"]),
    path=st.sampled_from(
        ["/files", "/files/", "/files/made", "/files/%00", "/files/..", "/files/я"]
    ),
    pairs=st.lists(st.tuples(_NAMES, _VALUES), max_size=8),
    versioned=st.booleans(),
    body=st.binary(max_size=12),
)
def test_no_header_makes_a_server_error(
    fuzzed: TestClient,
    method: str,
    path: str,
    pairs: list[tuple[str, str]],
    versioned: bool,
    body: bytes,
) -> None:
    made = fuzzed.post("/files", headers=VERSION | {"Upload-Length": "10"}).headers["Location"]
    headers = [(name, value.encode("latin-1")) for name, value in pairs]
    if versioned:
        headers.append(("Tus-Resumable", b"1.0.0"))
    answer = fuzzed.request(
        method,
        path.replace("/files/made", made),
        headers=headers,
        content=body,
    )
    assert answer.status_code < 500


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(_app(tmp_path_factory.mktemp("fuzz"))) as client:
        yield client


def _app(root: Path) -> FastAPI:
    app = FastAPI()
    app.include_router(router(UploadStore(root, max_bytes=10**6, ttl_s=3600)))
    return app
