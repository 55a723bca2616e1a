"""OpenAI's dialect, with the real SDK's wire shapes and with what is wrong."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from stenograf.contract.errors import ModelNotReady
from stenograf.contract.jobs import JobRequest
from stenograf.contract.options import TranscribeOptions

from .desk import NO_VAD, Desk, until
from .model_server import ModelServer, Reply, heard
from .serving import serving
from .sounds import noise, silence, wav

URL = "/v1/audio/transcriptions"
FORM = {"model": "whisper-1"}
IMPATIENT = httpx.Timeout(30, read=1.0)
SPEECH = (Path(__file__).parents[2] / "data/samples/extension_ru.flac").read_bytes()


@pytest.fixture
def served(desk: Desk) -> Iterator[str]:
    """The same backend on a socket, for clients that need one."""
    with serving(desk.app) as url:
        yield url


def speechlike() -> bytes:
    """A recording that voice detection does not let through is enough for shapes."""
    return wav(noise(1))


def test_the_sdk_reads_every_format(served: str, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
    path = tmp_path / "запись.wav"
    path.write_bytes(wav(silence(1)))
    assert client.audio.transcriptions.create(model="whisper-1", file=path).text == ""
    verbose = client.audio.transcriptions.create(
        model="whisper-1",
        file=path,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.language == "russian", "the language that is meant where none is named"
    assert verbose.duration == 1.0
    assert verbose.words == []
    assert client.audio.transcriptions.create(
        model="whisper-1", file=path, response_format="vtt"
    ).startswith("WEBVTT")
    assert client.models.list().data[0].id == "model-a"
    with pytest.raises(openai.BadRequestError) as failure:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b""))
    assert failure.value.code == "undecodable_audio"
    with pytest.raises(openai.NotFoundError):
        client.audio.transcriptions.create(model="nonesuch", file=path)
    client.close()


def test_a_body_of_unknown_length_with_the_file_first(desk: Desk) -> None:
    boundary = "x1"
    file = speechlike()

    def body() -> Iterator[bytes]:
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        for at in range(0, len(file), 777):
            yield file[at : at + 777]
        yield f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n'.encode()
        yield f"whisper-1\r\n--{boundary}--\r\n".encode()

    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    answer = desk.http.post(URL, content=body(), headers=headers)
    assert answer.status_code == 200, answer.text
    job = desk.http.get("/v1/jobs").json()["data"][0]
    assert (job["filename"], job["size_bytes"]) == ("a.bin", len(file))


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"response_format": "docx"}, 400, "response_format"),
        ({"language": "по-русски"}, 400, "language"),
        ({"temperature": "warm"}, 400, "temperature"),
        ({"temperature": "2"}, 400, "temperature"),
        ({"timestamp_granularities[]": "letter"}, 400, "timestamp_granularities[]"),
        ({"timestamp_granularities[]": "word"}, 400, "timestamp_granularities[]"),
        ({"model": "nonesuch"}, 404, "model"),
        ({"prompt": "я" * 70_000}, 400, "prompt"),
    ],
)
def test_wrong_fields_name_themselves_and_leave_no_upload(
    desk: Desk, fields: dict[str, str], status: int, param: str
) -> None:
    answer = desk.http.post(URL, data=FORM | fields, files={"file": ("a.wav", speechlike())})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert list((desk.house.settings.data_dir / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"--y--\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc', None),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n', None),
        (b"{}", "application/json"),
        (b"file=1", "application/x-www-form-urlencoded"),
        (b"--x\r\n" + b"A" * 20_000, None),
    ],
)
def test_what_is_no_form_is_a_bad_request(
    desk: Desk, body: bytes, content_type: str | None
) -> None:
    kind = content_type or "multipart/form-data; boundary=x"
    answer = desk.http.post(URL, content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert list((desk.house.settings.data_dir / "uploads").iterdir()) == []


def test_a_second_file_is_refused(desk: Desk) -> None:
    files = [("file", ("a.wav", speechlike())), ("file", ("b.wav", speechlike()))]
    assert desk.http.post(URL, data=FORM, files=files).status_code == 400
    assert list((desk.house.settings.data_dir / "uploads").iterdir()) == []


def test_a_model_that_is_not_there_yet_is_a_503_to_try_again(tmp_path: Path) -> None:
    with Desk(tmp_path, "http://127.0.0.1:1", retry_scale=1.0) as desk:
        answer = desk.http.get("/v1/models")
        assert answer.status_code == 503
        assert answer.headers["x-should-retry"] == "true"
        assert desk.http.get("/ready").status_code == 503
        assert desk.http.get("/health").status_code == 200


def test_who_is_told_to_come_back_leaves_no_job_behind(tmp_path: Path, model: ModelServer) -> None:
    model.ready = Reply(503, {"status": "loading", "progress": 0.1})
    with Desk(tmp_path, model.url, retry_scale=1.0) as desk:
        body = {"user_id": "u", "chunk": noise(1).tolist()}
        answer = desk.http.post("/get_answer/", json=body)
        assert answer.status_code == 200, "noise is no speech: no model is needed"
        job = JobRequest(
            upload_id=desk.upload(wav(noise(2))), options=TranscribeOptions.model_validate(NO_VAD)
        )
        with pytest.raises(ModelNotReady) as failure:
            asyncio.run(desk.house.service.run_now(job))
        assert failure.value.retry_after_s
        assert len(desk.http.get("/v1/jobs").json()["data"]) == 1


def test_a_client_that_leaves_while_it_sends_leaves_nothing(served: str, desk: Desk) -> None:
    def half() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
        raise ConnectionError

    headers = {"content-type": "multipart/form-data; boundary=x"}
    with pytest.raises(ConnectionError), httpx.Client() as client:
        client.post(f"{served}{URL}", content=half(), headers=headers)
    uploads = desk.house.settings.data_dir / "uploads"
    until(lambda: list(uploads.iterdir()) == [])


def test_the_job_goes_on_when_the_client_leaves(
    served: str, desk: Desk, model: ModelServer
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=3.0)
    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.Client(timeout=IMPATIENT) as client,
    ):
        client.post(f"{served}{URL}", data=FORM, files={"file": ("a.flac", SPEECH)})
    until(lambda: desk.http.get("/v1/jobs").json()["data"])
    job = desk.http.get("/v1/jobs").json()["data"][0]
    assert desk.wait(job["id"])["status"] == "completed"


def test_models_by_their_own_and_by_openais_names(desk: Desk, model: ModelServer) -> None:
    (row,) = desk.http.get("/v1/models").json()["data"]
    assert (row["id"], row["object"], row["owned_by"]) == ("model-a", "model", "stenograf")
    for name in ("model-a", "whisper-1", "gpt-4o-mini-transcribe-2025-12-15"):
        assert desk.http.get(f"/v1/models/{name}").json() == row
    refused = desk.http.get("/v1/models/gpt-9")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    row_of_two = {"id": "org/model-b", "object": "model"}
    model.models = Reply(body={"object": "list", "data": [row, row_of_two]})
    with Desk(desk.house.settings.data_dir / "b", model.url, llm_model="org/model-b") as other:
        assert other.http.get("/v1/models/whisper-1").json()["id"] == "org/model-b"
        assert other.http.get("/v1/models/org/model-b").json()["created"] == 0
