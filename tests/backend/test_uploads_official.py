"""The same requests to our server and to the official one (@tus/server), answers compared.

Every difference stands in `DIFFERENCES` with its reason; one that is no longer there fails too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from ..clients.kit import node_clients
from .tus_peers import CHUNK, MAX_BYTES, VERSION, Answer, Peer, digest, official, ours

pytestmark = pytest.mark.node

LENGTH = {"Upload-Length": "10"}
META = {"Upload-Metadata": "filename d29ybGQ=,filetype YXVkaW8vbXBlZw==,flag"}
COMPARED = (
    *("Tus-Resumable", "Tus-Version", "Tus-Max-Size", "Cache-Control"),
    *("Location", "Upload-Offset", "Upload-Length", "Upload-Defer-Length"),
    *("Upload-Metadata", "Upload-Expires"),
)


@dataclass(frozen=True)
class Step:
    """One request; `path` may name the upload made before as {id}."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


def _post(extra: Mapping[str, str], body: bytes = b"") -> Step:
    return Step("POST", "/files", {**VERSION, **extra}, body)


def _patch(offset: int, body: bytes, extra: Mapping[str, str] = {}) -> Step:
    return Step(
        "PATCH", "/files/{id}", {**VERSION, **CHUNK, "Upload-Offset": str(offset), **extra}, body
    )


HEAD = Step("HEAD", "/files/{id}", VERSION)
DELETE = Step("DELETE", "/files/{id}", VERSION)
MAKE = _post(LENGTH)
DEFERRED = _post({"Upload-Defer-Length": "1"})

CASES: Mapping[str, list[Step]] = {
    "discover": [Step("OPTIONS", "/files", {})],
    "discover one": [MAKE, Step("OPTIONS", "/files/{id}", {})],
    "whole life": [
        _post(LENGTH | META),
        HEAD,
        _patch(0, b"12345"),
        HEAD,
        _patch(5, b"67890"),
        HEAD,
    ],
    "one chunk": [MAKE, _patch(0, b"1234567890"), HEAD],
    "created with its content": [_post(LENGTH | CHUNK, b"1234567890"), HEAD],
    "created with a part": [_post(LENGTH | CHUNK, b"12345"), HEAD, _patch(5, b"67890"), HEAD],
    "created with an empty part": [_post(LENGTH | CHUNK), HEAD],
    "created with too much": [_post(LENGTH | CHUNK, b"12345678901")],
    "created with an octet stream": [
        _post(LENGTH | {"Content-Type": "application/octet-stream"}),
        HEAD,
    ],
    "zero bytes": [_post({"Upload-Length": "0"}), HEAD],
    "empty chunk": [MAKE, _patch(0, b""), HEAD],
    "empty chunk at the end": [MAKE, _patch(0, b"1234567890"), _patch(10, b""), HEAD],
    "offset behind": [MAKE, _patch(0, b"12345"), _patch(0, b"12345"), HEAD],
    "offset beyond": [MAKE, _patch(5, b"12345"), HEAD],
    "offset beyond the length": [MAKE, _patch(11, b"1"), HEAD],
    "chunk too long": [MAKE, _patch(0, b"12345678901"), HEAD],
    "byte after the end": [MAKE, _patch(0, b"1234567890"), _patch(10, b"1"), HEAD],
    "length later": [DEFERRED, HEAD, _patch(0, b"12345"), _patch(5, b"67890", LENGTH), HEAD],
    "length with an empty last chunk": [
        *(DEFERRED, _patch(0, b"12345"), HEAD),
        *(_patch(5, b"", {"Upload-Length": "5"}), HEAD),
    ],
    "length twice": [MAKE, _patch(0, b"12345", {"Upload-Length": "10"}), HEAD],
    "length less than what came": [
        *(DEFERRED, _patch(0, b"12345")),
        *(_patch(5, b"", {"Upload-Length": "4"}), HEAD),
    ],
    "length later too large": [DEFERRED, _patch(0, b"1", {"Upload-Length": str(MAX_BYTES + 1)})],
    "no length": [_post({})],
    "both lengths": [_post(LENGTH | {"Upload-Defer-Length": "1"})],
    "deferred by two": [_post({"Upload-Defer-Length": "2"})],
    **{
        f"length {value!r}": [_post({"Upload-Length": value})]
        for value in ("-1", "1.5", "0x10", "010", "ten", "", "1e3", "+1", "٣".encode().hex())
    },
    "largest": [_post({"Upload-Length": str(MAX_BYTES)}), HEAD],
    "too large": [_post({"Upload-Length": str(MAX_BYTES + 1)})],
    "far too large": [_post({"Upload-Length": "9" * 15})],
    **{
        f"metadata {value!r}": [_post(LENGTH | {"Upload-Metadata": value}), HEAD]
        for value in ("a", "a,b", "a YQ==", "a  YQ==", "a YQ==,a YQ==", "a,a", "a %%", "a YQ", ",")
    },
    "metadata that is empty": [_post(LENGTH | {"Upload-Metadata": ""})],
    "metadata that is not UTF-8": [_post(LENGTH | {"Upload-Metadata": "filename /w=="}), HEAD],
    "no version": [Step("POST", "/files", LENGTH)],
    "other version": [Step("POST", "/files", LENGTH | {"Tus-Resumable": "0.2.2"})],
    "no version at all": [MAKE, Step("HEAD", "/files/{id}", {}), Step("DELETE", "/files/{id}", {})],
    "no offset": [MAKE, Step("PATCH", "/files/{id}", {**VERSION, **CHUNK}, b"1")],
    "offset that is no number": [
        MAKE,
        Step("PATCH", "/files/{id}", {**VERSION, **CHUNK, "Upload-Offset": "a"}, b"1"),
    ],
    "no chunk type": [MAKE, Step("PATCH", "/files/{id}", {**VERSION, "Upload-Offset": "0"}, b"1")],
    "wrong chunk type": [MAKE, _patch(0, b"1", {"Content-Type": "audio/mpeg"}), HEAD],
    "removed": [MAKE, DELETE, HEAD, _patch(0, b"1"), DELETE],
    "removed when complete": [MAKE, _patch(0, b"1234567890"), DELETE, HEAD],
    "unknown": [
        Step("HEAD", "/files/nothing", VERSION),
        Step("PATCH", "/files/nothing", {**VERSION, **CHUNK, "Upload-Offset": "0"}, b"1"),
        Step("DELETE", "/files/nothing", VERSION),
    ],
    "unknown with a path": [Step("HEAD", "/files/..%2f..%2fetc%2fpasswd", VERSION)],
    "right checksum": [MAKE, _patch(0, b"12345", {"Upload-Checksum": digest("sha1", b"12345")})],
    "wrong checksum": [
        *(MAKE, _patch(0, b"12345", {"Upload-Checksum": digest("sha1", b"x")})),
        *(HEAD, _patch(0, b"12345"), HEAD),
    ],
    "unknown checksum": [MAKE, _patch(0, b"12345", {"Upload-Checksum": "crc32 AAAAAA=="}), HEAD],
    "concatenation": [_post(LENGTH | {"Upload-Concat": "partial"})],
    "override": [
        MAKE,
        Step(
            "POST",
            "/files/{id}",
            {**VERSION, **CHUNK, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"},
            b"12345",
        ),
        HEAD,
    ],
    "put": [MAKE, Step("PUT", "/files/{id}", VERSION)],
}

Result = tuple[int, Mapping[str, str]]

DIFFERENCES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "no version": ((412,), "the protocol wants Tus-Version beside 412"),
    "no version at all": ((201, 412, 412), "the protocol wants Tus-Version beside 412"),
    "other version": ((412,), "the protocol wants 412 and Tus-Version; there it is 400"),
    "no offset": ((201, 400), "400 is what a missing header is; there 403"),
    "no chunk type": ((201, 415), "the protocol suggests 415; there 403"),
    "wrong chunk type": ((201, 415, 200), "the protocol suggests 415; there 400"),
    "metadata that is empty": ((201,), "tuspy sends an empty header when it has none"),
    "metadata that is not UTF-8": ((201, 200), "echoed byte for byte; there it is replaced"),
    "unknown with a path": ((404,), "no route of ours at all, so no tus header"),
    "wrong checksum": ((201, 460, 200, 204, 200), "checksum extension; not spoken there"),
    "unknown checksum": ((201, 400, 200), "checksum extension; not spoken there"),
    "concatenation": ((400,), "a client's mistake is never 5xx; there 501"),
    "override": ((201, 204, 200), "part of the core protocol; not spoken there"),
    "put": ((201, 405), "the address exists, the method does not; there 404"),
}
"""Our statuses where the answers differ, and why."""


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Peer, Peer]]:
    modules = node_clients()
    roots = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("official")
    with ours(roots[0]) as mine, official(roots[1], modules) as theirs:
        yield mine, theirs


def _run(peer: Peer, steps: list[Step]) -> list[Result]:
    made = ""
    results = []
    for step in steps:
        if "{id}" in step.path and not made:
            break  # its creation was refused
        path = step.path.replace("/files/{id}", made)
        answer = peer.ask(step.method, path, step.headers, step.body)
        made = answer.headers.get("Location", made)
        results.append((answer.status, _tus_headers(answer)))
    return results


def _tus_headers(answer: Answer) -> dict[str, str]:
    found = {name: answer.headers[name] for name in COMPARED if name in answer.headers}
    if "Location" in found:
        found["Location"] = re.sub(r"^/files/[\w-]+$", "/files/{id}", found["Location"])
    if "Upload-Expires" in found:
        parsedate_to_datetime(found["Upload-Expires"])  # raises for another form
        found["Upload-Expires"] = str(found["Upload-Expires"].endswith(" GMT"))
    return found


@pytest.mark.parametrize("name", CASES)
def test_answers_are_the_official_ones(name: str, peers: tuple[Peer, Peer]) -> None:
    mine, theirs = (_run(peer, CASES[name]) for peer in peers)
    assert all(status < 500 for status, _ in mine)
    if name in DIFFERENCES:
        statuses, why = DIFFERENCES[name]
        assert mine != theirs, f"no difference any more: {why}"
        assert tuple(status for status, _ in mine) == statuses
    else:
        assert mine == theirs


def test_every_difference_has_its_case() -> None:
    assert set(DIFFERENCES) <= set(CASES)


def test_every_official_extension_is_offered(peers: tuple[Peer, Peer]) -> None:
    mine, theirs = (
        set(peer.ask("OPTIONS", "/files").headers["Tus-Extension"].split(",")) for peer in peers
    )
    assert mine - theirs == {"checksum"}
    assert theirs - mine == set()
