"""Answers that take longer than clients wait: one request, one recognition, one answer."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pysubs2
import pytest
import srt
import webvtt
from starlette.responses import Response, StreamingResponse

from stenograf.contract.errors import StenografError, UndecodableAudio, error_json
from stenograf.patience import BrokenOff, patient_events, patient_json, patient_text

from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard
from .serving import serving
from .sounds import noise, wav

URL = "/v1/audio/transcriptions"
SDK_TIMEOUT_S = 5.0
JOB_S = 8.0
OURS = {"vad": "false"}
IMPATIENT = httpx.Timeout(30, read=1.0)


@pytest.fixture
def quick(tmp_path: Path, model: ModelServer) -> Iterator[Desk]:
    """A backend that begins its answers after 0.3 s."""
    with Desk(tmp_path, model.url, answer_start_s=0.3) as desk:
        yield desk


def file(seed: int = 1) -> tuple[str, bytes]:
    return "a.wav", wav(noise(2, seed))


def slowly(model: ModelServer, delay_s: float, text: str = " Раз, два.") -> None:
    model.answer = lambda asked: Reply(body=heard(asked, text), delay_s=delay_s)


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdk_with_a_short_timeout_asks_once(
    tmp_path: Path, model: ModelServer, stream: bool
) -> None:
    slowly(model, JOB_S)
    with (
        Desk(tmp_path, model.url, answer_start_s=0.5) as desk,
        serving(desk.app) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=SDK_TIMEOUT_S) as client,
    ):
        started = time.monotonic()
        answer: Any = client.audio.transcriptions.create(
            file=file(), model="whisper-1", stream=stream, extra_body=OURS
        )
        text = list(answer)[-1].text if stream else answer.text
        assert time.monotonic() - started > SDK_TIMEOUT_S
        assert text == "Раз, два."
        assert len(desk.http.get("/v1/jobs").json()["data"]) == 1, "one request"
    assert len(model.asked) == 1, "one recognition"


@pytest.mark.parametrize("format", ["text", "srt", "vtt", "json", "verbose_json", "diarized_json"])
def test_every_format_may_begin_before_it_is_known(
    quick: Desk, model: ModelServer, format: str
) -> None:
    slowly(model, 1.5)
    form = OURS | {"response_format": format}
    late = quick.http.post(URL, data=form, files={"file": file()})
    known = quick.http.post(URL, data=form, files={"file": file()})
    assert len(model.asked) == 1
    assert late.headers["content-type"] == known.headers["content-type"]
    assert late.content != known.content, "the late one began with white space"
    assert len(late.content) - len(known.content) >= 2
    read = {"text": str.strip, "srt": _srt, "vtt": _vtt}.get(format, json.loads)
    assert read(late.text) == read(known.text)
    assert "Раз" in str(read(late.text))


def _srt(body: str) -> list[tuple[int, str]]:
    strict = [(cue.index or 0, cue.content) for cue in srt.parse(body)]
    assert [cue.text for cue in pysubs2.SSAFile.from_string(body, "srt")] == [t for _, t in strict]
    return strict


def _vtt(body: str) -> list[tuple[str, str]]:
    assert body.startswith("WEBVTT\n\n")
    assert [cue.text for cue in pysubs2.SSAFile.from_string(body, "vtt")]
    return [(cue.start, cue.text) for cue in webvtt.from_string(body)]


def late_refusal(model: ModelServer) -> None:
    body = {"error": {"code": "invalid_request", "message": "No such window."}}
    model.answer = lambda _: Reply(400, body, delay_s=1.5)


def test_a_late_failure_is_the_body_of_json(quick: Desk, model: ModelServer) -> None:
    late_refusal(model)
    answer = quick.http.post(URL, data=OURS, files={"file": file()})
    assert answer.status_code == 200
    error = answer.json()["error"]
    assert (error["message"], error["type"]) == ("No such window.", "invalid_request_error")
    assert {"param", "code", "request_id"} <= set(error)


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
def test_a_late_failure_breaks_a_text_off(quick: Desk, model: ModelServer, format: str) -> None:
    late_refusal(model)
    form = OURS | {"response_format": format}
    with serving(quick.app) as url, httpx.Client(timeout=60) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(url + URL, data=form, files={"file": file()})
        assert client.get(f"{url}/health").status_code == 200


def _three(jobs: list[Any]) -> list[Any]:
    return jobs if len(jobs) == 3 else []


def test_three_posts_of_the_same_bytes_are_one_recognition(
    tmp_path: Path, model: ModelServer
) -> None:
    gate = threading.Event()

    def at_last(asked: Asked) -> Reply:
        gate.wait(60)
        return Reply(body=heard(asked, " Раз, два."))

    model.answer = at_last
    with Desk(tmp_path, model.url, answer_start_s=60) as desk, serving(desk.app) as url:
        for _ in range(2):
            with (
                pytest.raises(httpx.ReadTimeout),
                httpx.Client(timeout=IMPATIENT) as impatient,
            ):
                impatient.post(url + URL, data=OURS, files={"file": file()})
        gate.set()
        with httpx.Client(timeout=60) as patient:
            answer = patient.post(url + URL, data=OURS, files={"file": file()})
        assert answer.json()["text"] == "Раз, два."
        jobs = until(lambda: _three(desk.http.get("/v1/jobs").json()["data"]))
        assert {job["status"] for job in jobs} == {"completed"}, "the result is kept"
    assert len(model.asked) == 1


class Work:
    """Gives its outcome when it is told to."""

    def __init__(self, outcome: bytes | StenografError) -> None:
        self.outcome = outcome
        self.may_end = asyncio.Event()

    async def __call__(self) -> bytes:
        await self.may_end.wait()
        if isinstance(self.outcome, StenografError):
            raise self.outcome
        return self.outcome


async def body_of(answer: Response, work: Work, pieces: int) -> bytes:
    """The whole body of an answer that began early; after so many pieces the work may end."""
    assert isinstance(answer, StreamingResponse)
    body = []
    async for piece in answer.body_iterator:
        body.append(bytes(piece))  # type: ignore[arg-type]
        if len(body) == pieces:
            work.may_end.set()
    return b"".join(body)


@pytest.mark.parametrize("error", [None, UndecodableAudio("no sound")])
def test_json_behind_spaces(error: StenografError | None) -> None:
    async def run() -> bytes:
        work = Work(error or b'{"text": "ok"}')
        return await body_of(await patient_json(work(), error_json, start_s=0.02), work, 3)

    body = asyncio.run(run())
    assert body.startswith(b"   ")
    assert json.loads(body) == ({"text": "ok"} if error is None else error_json(error))


async def refused() -> bytes:
    raise UndecodableAudio("no sound")


def test_a_quick_error_keeps_its_own_status() -> None:
    with pytest.raises(UndecodableAudio):
        asyncio.run(patient_json(refused(), error_json))
    with pytest.raises(UndecodableAudio):
        asyncio.run(patient_text(refused(), "text/plain"))


def test_an_answer_is_held_while_it_may_still_fail() -> None:
    async def run() -> None:
        failing = Work(UndecodableAudio("no sound"))

        async def fails_while_held() -> None:
            failing.may_end.set()
            await asyncio.Event().wait()

        with pytest.raises(UndecodableAudio):
            await patient_json(failing(), error_json, start_s=0.02, hold=fails_while_held)
        work = Work(b"text")
        released = patient_text(
            work(), "text/plain", start_s=0.02, hold=lambda: asyncio.sleep(0.05)
        )
        assert await body_of(await released, work, 2) == b"\n\ntext"

    asyncio.run(run())


def test_a_text_that_fails_late_is_broken_off() -> None:
    async def run() -> None:
        work = Work(UndecodableAudio("no sound"))
        answer = await patient_text(work(), "text/vtt", opening=b"WEBVTT\n\n", start_s=0.01)
        with pytest.raises(BrokenOff, match="no sound"):
            await body_of(answer, work, 1)

    asyncio.run(run())


def test_events_end_when_nobody_listens() -> None:
    ended: list[str] = []

    async def events() -> AsyncGenerator[bytes]:
        try:
            yield b"one"
            await asyncio.sleep(60)
        finally:
            ended.append("source")

    async def run() -> list[bytes]:
        answer: Any = await patient_events(
            events(), lambda _: b"error", ping=b"ping", headers={}, start_s=0.02
        )
        heard_pieces: list[bytes] = []
        iterator = answer.body_iterator
        async for piece in iterator:
            heard_pieces.append(piece)
            if len(heard_pieces) == 4:
                await iterator.aclose()
                break
        return heard_pieces

    assert asyncio.run(run()) == [b"one", b"ping", b"ping", b"ping"]
    assert ended == ["source"]


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    quick: Desk, model: ModelServer, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    slowly(model, 2.0)
    with serving(quick.app) as url, httpx.Client(timeout=60) as client:
        form = OURS | {"stream": stream}
        with client.stream("POST", url + URL, data=form, files={"file": file()}) as response:
            next(response.iter_bytes())
        job = quick.http.get("/v1/jobs").json()["data"][0]
        assert quick.wait(job["id"])["status"] == "completed"
        until(lambda: not quick.house.service.hub.subscribers)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
