"""Bodies as no client should send them, over a bare socket to a real process.

Whatever comes, the answer is no server error, and nothing stays behind on the disk.
"""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from ..servers import Process, backend_process
from ..waiting import until
from .model_server import ModelServer
from .sounds import noise, wav

FUZZ = settings(max_examples=60)
STALL_S = 1.0
ROUTES = {
    "/v1/audio/transcriptions": b"file",
    "/v1/audio/translations": b"file",
    "/asr": b"audio_file",
    "/detect-language": b"audio_file",
    "/inference": b"file",
    "/transcribe": b"file",
}
SOUND = wav(noise(0.2))


@dataclass
class Bare:
    """A backend and what it keeps on disk."""

    process: Process
    data: Path
    scratch: Path

    def answer(self, *pieces: bytes, then: str = "wait") -> int | None:
        """Status of the answer to these bytes; None where the connection ends without one.

        `then`: what the client does when all are sent, "wait", "leave" or "shut" its side.
        """
        port = int(self.process.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(ConnectionError):  # it may have heard enough
                for piece in pieces:
                    line.sendall(piece)
                if then == "shut":
                    line.shutdown(socket.SHUT_WR)
            if then == "leave":
                return None
            return status_in(line)

    def leftovers(self) -> set[str]:
        """Uploads that no job refers to, and other files that should be gone."""
        with sqlite3.connect(self.data / "stenograf.db") as database:
            used = {row[0] for row in database.execute("SELECT upload_id FROM jobs")}
        left = {folder.name for folder in (self.data / "uploads").iterdir()} - used
        for folder in (self.scratch, self.data / "chunks", self.data / "language"):
            left |= {path.name for path in folder.glob("[!.]*")}
        return left

    def memory_bytes(self) -> int:
        """What the process has used at most, resident."""
        status = Path(f"/proc/{self.process.popen.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024


def status_in(line: socket.socket) -> int | None:
    """The status of the last answer; those that only say to go on do not count."""
    got = b""
    with suppress(ConnectionError):
        while True:
            block = line.recv(65536)
            got += block
            head, found, rest = got.partition(b"\r\n\r\n")
            if found and head.startswith(b"HTTP/1.1 1"):
                got = rest
                continue
            if found or not block:
                break
    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else None


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    folder = tmp_path_factory.mktemp("bare")
    scratch = tmp_path_factory.mktemp("scratch")
    environment = {"TMPDIR": str(scratch), "REQUEST_TIMEOUT_S": str(STALL_S)}
    with (
        ModelServer() as model,
        backend_process(folder, model.url, RETRY_SCALE="0", **environment) as process,
    ):
        found = Bare(process, folder, scratch)
        yield found
        until(lambda: not found.leftovers())
        assert requests.get(f"{process.url}/ready", timeout=60).ok
        assert "Traceback" not in process.log.read_text()


def part(headers: bytes, content: bytes) -> bytes:
    return b"--B\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


def file_part(name: bytes = b"file", content: bytes = SOUND, filename: bytes = b"a.wav") -> bytes:
    given = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + filename + b'"'
    return part(given + b"\r\nContent-Type: audio/wav", content)


def field_part(name: bytes, value: bytes) -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"', value)


END = b"--B--\r\n"
FORM = b"multipart/form-data; boundary=B"


def head(path: str, kind: bytes = FORM, *more: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: x", b"Content-Type: " + kind, *more]
    return b"\r\n".join([*lines, b"", b""])


def sized(path: str, body: bytes, *more: bytes, kind: bytes = FORM) -> bytes:
    return head(path, kind, b"Content-Length: %d" % len(body), *more) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(path: str, *chunks: bytes) -> bytes:
    return head(path, FORM, b"Transfer-Encoding: chunked") + b"".join(chunks)


def explained(status: int | None) -> bool:
    """An answer, and no server error; 503 is for a model that is not there, which it is."""
    return status is not None and 200 <= status < 500


FORMS = {
    "whole": file_part() + END,
    "preamble": b"hello\r\n" + file_part() + END,
    "epilogue": file_part() + END + b"more and more",
    "no final boundary": file_part(),
    "no last dashes": file_part() + b"--B\r\n",
    "empty": b"",
    "only the end": END,
    "half a boundary": file_part() + b"--",
    "no headers of a part": b"--B\r\n\r\n" + SOUND + b"\r\n" + END,
    "headers without end": b"--B\r\nContent-Disposition: form-data; name=",
    "bare newlines": file_part().replace(b"\r\n", b"\n") + b"--B--\n",
    "no file name": part(b'Content-Disposition: form-data; name="file"', SOUND) + END,
    "empty file name": file_part(filename=b"") + END,
    "name of bytes": file_part(filename=bytes(range(128, 256))) + END,
    "name with quotes": file_part(filename=b'a\\"b;c=d') + END,
    "name of zeros": file_part(filename=b"\0" * 50) + END,
    "way out": file_part(filename=b"../../../../etc/passwd") + END,
    "long file name": file_part(filename=b"a" * 15_000) + END,
    "extended name": part(
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%ff%00%D1%8F", SOUND
    )
    + END,
    "two files": file_part() + file_part() + END,
    "file of another name": file_part(b"what") + END,
    "no disposition": part(b"Content-Type: audio/wav", SOUND) + END,
    "other disposition": part(b"Content-Disposition: attachment", SOUND) + END,
    "twice the disposition": part(
        b'Content-Disposition: form-data; name="a"\r\n'
        b'Content-Disposition: form-data; name="file"; filename="b"',
        SOUND,
    )
    + END,
    "giant header": part(b"X-Y: " + b"z" * 200_000, SOUND) + END,
    "many headers": part(b"\r\n".join(b"X-%d: y" % n for n in range(5000)), SOUND) + END,
    "giant name": field_part(b"n" * 200_000, b"1") + file_part() + END,
    "giant field": field_part(b"prompt", b"n" * 500_000) + file_part() + END,
    "many fields": field_part(b"language", b"ru") * 5000 + file_part() + END,
    "fields twice": field_part(b"language", b"ru") * 2 + field_part(b"language", b"?") + file_part()
    + END,
    "broken field": field_part(b"response_format", b"\xff\xfe\0") + file_part() + END,
    "numbers that are none": field_part(b"temperature", b"nan") + file_part() + END,
    "empty file": file_part(content=b"") + END,
    "transfer encoding": part(
        b'Content-Disposition: form-data; name="file"; filename="a"\r\n'
        b"Content-Transfer-Encoding: base64",
        SOUND,
    )
    + END,
}  # fmt: skip


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms(bare: Bare, path: str, form: bytes) -> None:
    form = form.replace(b'name="file"', b'name="' + ROUTES[path] + b'"')
    assert explained(bare.answer(sized(path, form)))


KINDS = [
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=" + b"B" * 300,
    b"multipart/form-data; boundary=\xff\xfe",
    b"multipart/form-data; boundary=B; boundary=C",
    b'multipart/form-data; boundary="B',
    b"multipart/mixed; boundary=B",
    b"application/json",
    b"audio/wav",
    b"",
    b";;;===",
    b"text/plain; charset=\0",
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", KINDS)
def test_content_types(bare: Bare, path: str, kind: bytes) -> None:
    assert explained(bare.answer(sized(path, file_part(ROUTES[path]) + END, kind=kind)))


BODY = file_part() + END
LINES = {
    "length too short": head("/asr", FORM, b"Content-Length: 9") + BODY,
    "two lengths": head("/asr", FORM, b"Content-Length: 9", b"Content-Length: 10") + BODY,
    "length and chunks": head("/asr", FORM, b"Content-Length: 9", b"Transfer-Encoding: chunked")
    + chunk(BODY) + b"0\r\n\r\n",
    "negative length": head("/asr", FORM, b"Content-Length: -1") + BODY,
    "length of letters": head("/asr", FORM, b"Content-Length: many") + BODY,
    "endless length": head("/asr", FORM, b"Content-Length: " + b"9" * 30) + BODY,
    "no length": head("/asr", FORM),
    "unknown coding": head("/asr", FORM, b"Transfer-Encoding: gzip, chunked") + chunk(BODY)
    + b"0\r\n\r\n",
    "size of letters": chunked("/asr", b"xyz\r\n" + BODY),
    "negative size": chunked("/asr", b"-5\r\n" + BODY),
    "giant size": chunked("/asr", b"f" * 40 + b"\r\n" + BODY),
    "size too small": chunked("/asr", b"3\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "no newline after a chunk": chunked("/asr", b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n"),
    "long extension": chunked("/asr", b"5;" + b"x" * 300_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "long trailer": chunked("/asr", chunk(BODY), b"0\r\n", b"X: " + b"y" * 300_000, b"\r\n\r\n"),
    "giant head": head("/asr", FORM, b"X: " + b"y" * 300_000, b"Content-Length: 0"),
    "compressed": sized("/asr", BODY, b"Content-Encoding: gzip"),
}  # fmt: skip
"""Whole requests; some of them never end, so that the connection is closed on them."""


@pytest.mark.parametrize("request_bytes", LINES.values(), ids=LINES)
def test_framing(bare: Bare, request_bytes: bytes) -> None:
    request_bytes = request_bytes.replace(b'name="file"', b'name="audio_file"')
    status = bare.answer(request_bytes)
    assert status is None or status < 500 or status == 501


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/detect-language"])
@pytest.mark.parametrize("then", ["wait", "leave", "shut"])
@pytest.mark.parametrize("way", ["sized", "chunked"])
def test_a_body_that_stops(bare: Bare, path: str, then: str, way: str) -> None:
    body = file_part(ROUTES[path], SOUND * 40)
    if way == "sized":
        sent = sized(path, body, b"X-Y: z")[: -len(body) // 2]
    else:
        sent = head(path, FORM, b"Transfer-Encoding: chunked") + chunk(body)
    status = bare.answer(sent, then=then)
    assert status is None or status < 500
    until(lambda: not bare.leftovers())


@pytest.mark.parametrize("expectation", [b"100-continue", b"200-ok", b""])
@pytest.mark.parametrize("path", ROUTES)
def test_expectations(bare: Bare, path: str, expectation: bytes) -> None:
    body = file_part(ROUTES[path]) + END
    assert explained(bare.answer(sized(path, body, b"Expect: " + expectation)))


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_in_crumbs(bare: Bare, path: str) -> None:
    whole = sized(path, file_part(ROUTES[path], SOUND[:400]) + END)
    assert explained(bare.answer(*(bytes([byte]) for byte in whole)))


def test_nothing_is_gathered_in_memory(bare: Bare) -> None:
    before = bare.memory_bytes()
    mebibytes = [b"x" * 1024**2] * 80
    for start in (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
        b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n',
        b'--B\r\nContent-Disposition: form-data; name="',
        b"--B\r\nX-",
        b"",
    ):
        for path in ("/v1/audio/transcriptions", "/inference"):
            length = b"Content-Length: %d" % (len(start) + 80 * 1024**2)
            status = bare.answer(head(path, FORM, length), start, *mebibytes)
            assert status is None or status < 500
            crumbs = (chunk(each) for each in (start, *mebibytes) if each)
            status = bare.answer(
                head(path, FORM, b"Transfer-Encoding: chunked"), *crumbs, b"0\r\n\r\n"
            )
            assert status is None or status < 500
    assert bare.memory_bytes() - before < 40 * 1024**2


PIECES = st.sampled_from(
    [
        *(b"--B\r\n", b"--B--\r\n", b"\r\n", b"\r\n\r\n", b"--", b"B", b"\n", b"\r", b"\0", b": "),
        *(b'Content-Disposition: form-data; name="file"; filename="a"', SOUND, b"name", b";", b'"'),
        b'Content-Disposition: form-data; name="response_format"',
        *(b"json", b"verbose_json", b"Content-Type: audio/wav", b"=", b"\xff", b"x" * 5000),
    ]
)


@FUZZ
@given(pieces=st.lists(PIECES | st.binary(max_size=30), max_size=14), data=st.data())
def test_any_form_in_any_pieces(bare: Bare, pieces: list[bytes], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(ROUTES)))
    body = b"".join(pieces).replace(b'name="file"', b'name="' + ROUTES[path] + b'"')
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if data.draw(st.booleans()):
        sent = [head(path, FORM, b"Content-Length: %d" % len(body)), *parts]
    else:
        chunks = [chunk(each) for each in parts if each]
        sent = [head(path, FORM, b"Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n"]
    assert explained(bare.answer(*sent))


@FUZZ
@given(data=st.data())
def test_a_form_with_wrong_bytes(bare: Bare, data: st.DataObject) -> None:
    body = bytearray(field_part(b"language", b"ru") + file_part(content=SOUND[:200]) + END)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "double"]))
        if kind == "flip":
            body[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del body[at : at + data.draw(st.integers(1, 20))]
        else:
            body[at:at] = body[at : at + 40]
        if not body:
            break
    assert explained(bare.answer(sized("/v1/audio/transcriptions", bytes(body))))


@FUZZ
@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
                *("Upload-Defer-Length", "Upload-Checksum", "Upload-Concat", "Content-Type"),
                *("X-HTTP-Method-Override", "Content-Length"),
            ]
        ),
        st.sampled_from(
            [
                *("1.0.0", "0", "5", "-1", "9" * 30, "1e3", "filename YQ==", "filename ===", "a,b"),
                *("sha1 AAAA", "sha1 ", "md5 ?", "application/offset+octet-stream", "PATCH"),
                *("partial", "final;/files/x", "\x01", "é", ",", "filename " + "QUFB" * 3000),
            ]
        ),
    ),
    method=st.sampled_from(["POST", "PATCH", "HEAD", "DELETE", "PUT"]),
    place=st.sampled_from(["/files", "/files/", "/files/none", "/files/%2e%2e%2fx", "/files/a/b"]),
    body=st.binary(max_size=20),
)
def test_any_headers_of_an_upload(
    bare: Bare, headers: dict[str, str], method: str, place: str, body: bytes
) -> None:
    headers = {"Content-Length": str(len(body))} | headers
    lines = [f"{method} {place} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
    sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    status = bare.answer(sent, then="shut")
    assert status is None or status < 500
