"""The model service at its front door, with engines that are quick to start."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from typing import Any

import numpy as np
import openai
import pytest
import requests
import uvicorn
from fastapi.testclient import TestClient
from openai import OpenAI
from tests.waiting import all_at_once, until

from stenograf.contract.errors import Cancelled, ModelNotFound
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, wav_bytes
from stenograf.llm.app import create_app
from stenograf.llm.engines.base import (
    Engine,
    EngineOptions,
    Stop,
    WindowResult,
    never,
)
from stenograf.llm.engines.fake import FakeEngine
from stenograf.llm.models import EngineFactory, Report
from stenograf.settings import LlmSettings

Tone = Callable[..., Waveform]
ROUTE = "/v1/audio/transcriptions"


def settings(**overrides: Any) -> LlmSettings:
    return LlmSettings(_env_file=None, **{"engine": "fake", **overrides})


@contextmanager
def service(load: EngineFactory | None = None, **overrides: Any) -> Iterator[TestClient]:
    app = create_app(settings(**overrides), load)
    with TestClient(app, raise_server_exceptions=False) as client:
        until(lambda: client.get("/ready").json()["status"] != "loading")
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with service() as client:
        yield client


def post(client: TestClient, body: bytes, **fields: Any) -> Any:
    return client.post(ROUTE, files={"file": ("окно.wav", body, "audio/wav")}, data=fields)


def test_it_says_what_it_is(client: TestClient) -> None:
    assert client.get("/health").json()["service"] == "llm"
    assert client.get("/ready").json()["status"] == "ready"
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["object"], model["loaded"]) == ("fake", "model", True)
    assert client.get("/v1/models/fake").json() == model
    assert client.get("/v1/models/whisper-1").json() == model
    assert client.get("/v1/models/gpt-9").json()["error"]["code"] == "model_not_found"


def test_verbose_json(client: TestClient, tone: Tone) -> None:
    sound = np.concatenate([tone(2.0), np.zeros(SAMPLE_RATE, np.float32), tone(1.0, 0.01)])
    answer = post(
        client,
        wav_bytes(sound),
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"]},
    ).json()
    assert (answer["task"], answer["language"], answer["language_code"]) == (
        "transcribe",
        "russian",
        "ru",
    )
    assert answer["duration"] == 4.0
    assert answer["text"] == "три три три три три три"
    assert [(s["id"], s["start"], s["end"]) for s in answer["segments"]] == [
        (0, 0.0, 2.0),
        (1, 3.0, 4.0),
    ]
    openai_keys = {
        "id", "seek", "start", "end", "text", "tokens", "temperature",
        "avg_logprob", "compression_ratio", "no_speech_prob",
    }  # fmt: skip
    assert set(answer["segments"][0]) == openai_keys
    assert answer["words"][4] == {"word": "три", "start": 3.0, "end": 3.5, "probability": 0.9}
    assert answer["usage"] == {"type": "duration", "seconds": 4.0}


def test_the_language_is_russian_unless_named_and_detected_on_request(
    client: TestClient, tone: Tone
) -> None:
    body = wav_bytes(tone(1))
    for fields, language, probability in (
        ({}, "russian", None),
        ({"language": "auto"}, "russian", 1.0),
        ({"language": "en"}, "english", None),
    ):
        answer = post(client, body, response_format="verbose_json", **fields).json()
        assert (answer["language"], answer["language_probability"]) == (language, probability)


def test_words_only_when_asked(client: TestClient, tone: Tone) -> None:
    assert "words" not in post(client, wav_bytes(tone(1)), response_format="verbose_json").json()


def test_json_and_text(client: TestClient, tone: Tone) -> None:
    body = wav_bytes(tone(1))
    assert post(client, body).json()["text"] == "три три"
    plain = post(client, body, response_format="text")
    assert (plain.text, plain.headers["content-type"]) == (
        "три три\n",
        "text/plain; charset=utf-8",
    )


def test_long_sound_is_cut_into_windows_with_true_times(client: TestClient, tone: Tone) -> None:
    sound = tone(70.0)
    sound[27 * SAMPLE_RATE : 28 * SAMPLE_RATE] = 0
    answer = post(
        client,
        wav_bytes(sound),
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"]},
    ).json()
    words = answer["words"]
    assert words[-1]["end"] == 70.0
    assert all(a["end"] <= b["start"] for a, b in pairwise(words))
    assert [s["id"] for s in answer["segments"]] == list(range(len(answer["segments"])))
    assert all(abs(s["seek"] - s["start"] * 100) <= 1 for s in answer["segments"])
    assert 134 <= len(words) <= 142


def test_silence_is_no_text_with_a_reason(client: TestClient) -> None:
    silence = wav_bytes(np.zeros(SAMPLE_RATE, np.float32))
    answer = post(client, silence, response_format="verbose_json").json()
    assert answer["text"] == ""
    assert answer["warnings"][0]["code"] == "silence"
    empty = post(client, wav_bytes(np.zeros(0, np.float32)), response_format="verbose_json")
    assert (empty.status_code, empty.json()["text"]) == (200, "")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"language": "xx"}, 400, "language"),
        ({"language": "de"}, 400, "language"),
        ({"language": "klingon"}, 400, "language"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"temperature": "3"}, 400, "temperature"),
        ({"temperature": "nan"}, 400, "temperature"),
        ({"beam_size": "1000"}, 400, "beam_size"),
        ({"task": "sing"}, 400, "task"),
        ({"logprob_threshold": "1"}, 400, "logprob_threshold"),
        ({"response_format": "docx"}, 400, "response_format"),
        ({"model": "gpt-9"}, 404, "model"),
        ({"timestamp_granularities[]": "word"}, 400, "timestamp_granularities[]"),
        (
            {"timestamp_granularities[]": "letter", "response_format": "verbose_json"},
            400,
            "timestamp_granularities[]",
        ),
    ],
)
def test_a_wrong_field_is_named(
    client: TestClient, tone: Tone, fields: dict[str, str], status: int, param: str
) -> None:
    answer = post(client, wav_bytes(tone(0.5)), **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"] and error["code"]
    assert answer.headers["x-should-retry"] == "false"


def test_the_options_reach_the_engine(tone: Tone) -> None:
    class Listener(FakeEngine):
        heard: EngineOptions | None = None

        def transcribe(
            self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
        ) -> list[WindowResult]:
            Listener.heard = options
            return super().transcribe(windows, options, stop)

    with service(lambda _: Listener()) as client:
        fields = {
            "model": "whisper-1",
            "language": "English",
            "task": "translate",
            "prompt": "Стенограф",
            "beam_size": "5",
            "temperature": "0.2",
            "no_speech_threshold": "0.5",
            "logprob_threshold": "-2",
            "compression_ratio_threshold": "3",
            "response_format": "verbose_json",
            "timestamp_granularities": "word",
        }
        answer = post(client, wav_bytes(tone(0.5)), **fields).json()
    assert answer["task"] == "translate"
    assert Listener.heard is not None
    decode, guard = Listener.heard.decode, Listener.heard.guard
    assert (decode.language, decode.task, decode.prompt) == ("en", "translate", "Стенограф")
    assert (decode.beam_size, decode.temperature, decode.word_timestamps) == (5, 0.2, True)
    assert guard.model_dump() == {
        "no_speech_threshold": 0.5,
        "logprob_threshold": -2.0,
        "compression_ratio_threshold": 3.0,
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "undecodable_audio"),
        (b"just a text", 400, "unsupported_format"),
        (b"fLaC" + bytes(100), 400, "undecodable_audio"),
    ],
)
def test_what_is_no_sound_is_refused(
    client: TestClient, body: bytes, status: int, code: str
) -> None:
    answer = post(client, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\nbroken"),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data\r\n\r\nx"),
        ("", b""),
    ],
)
def test_what_is_no_form_is_refused(client: TestClient, content_type: str, body: bytes) -> None:
    answer = client.post(ROUTE, content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


class TestSeedDialect:
    def test_floats_in_text_out(self, client: TestClient, tone: Tone) -> None:
        answer = client.post("/inference/", json={"chunk": tone(1.0).tolist()})
        assert (answer.status_code, answer.json()) == (200, {"response": "три три"})

    def test_nothing_is_no_text(self, client: TestClient) -> None:
        assert client.post("/inference/", json={"chunk": []}).json() == {"response": ""}

    def test_whole_numbers_and_other_fields_are_fine(self, client: TestClient) -> None:
        answer = client.post("/inference/", json={"chunk": [0, 1, -1] * 4000, "user": "x"})
        assert answer.status_code == 200

    def test_longer_than_a_window(self, client: TestClient, tone: Tone) -> None:
        answer = client.post("/inference/", json={"chunk": tone(33.0).tolist()})
        assert 64 <= len(answer.json()["response"].split()) <= 68

    def test_the_slashless_form_redirects(self, client: TestClient) -> None:
        answer = client.post("/inference", json={"chunk": []}, follow_redirects=False)
        assert answer.status_code == 307
        assert answer.headers["location"].endswith("/inference/")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"chunk": null}',
            b'{"chunk": "abc"}',
            b'{"chunk": ["a"]}',
            b'{"chunk": [[1]]}',
            b'{"chunk": [NaN]}',
            b'{"chunk": [1, Infinity]}',
            b'{"chunk": [1e999]}',
            b'{"chunk": [1e300]}',
            b"[" * 100_000,
        ],
    )
    def test_wrong_bodies_are_422(self, client: TestClient, body: bytes) -> None:
        answer = client.post("/inference/", content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "invalid_options"


class TestErrors:
    def test_every_answer_has_a_request_id(self, client: TestClient) -> None:
        given = client.get("/health", headers={"X-Request-Id": "abc-1"})
        assert given.headers["x-request-id"] == "abc-1"
        wild = client.get("/nowhere", headers={"X-Request-Id": "<script>" * 20})
        assert wild.status_code == 404
        assert wild.json()["error"]["request_id"] == wild.headers["x-request-id"]
        assert len(wild.headers["x-request-id"]) == 32

    def test_shapes_of_house_and_openai(self, client: TestClient) -> None:
        assert client.get("/inference/").json()["error"]["code"] == "method_not_allowed"
        theirs = client.get("/v1/audio/transcriptions").json()["error"]
        assert {"message", "type", "param", "code"} <= set(theirs)

    def test_a_fault_inside_is_not_told_outside(self) -> None:
        class Faulty(FakeEngine):
            def transcribe(
                self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
            ) -> list[WindowResult]:
                if windows[0].shape[0] == 8000:
                    raise ValueError("secret")
                return super().transcribe(windows, options, stop)

        with service(lambda _: Faulty()) as client:
            answer = client.post("/inference/", json={"chunk": [0.5] * 8000})
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert client.post("/inference/", json={"chunk": [0.5] * 16_000}).status_code == 200


class TestLimits:
    def test_an_announced_body(self) -> None:
        with service(llm_max_upload_bytes=2000) as client:
            answer = client.post("/inference/", json={"chunk": [0.5] * 1000})
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    def test_a_body_that_does_not_say_how_long_it_is(self) -> None:
        def endless() -> Iterator[bytes]:
            for _ in range(100):
                yield b" " * 1000

        with service(llm_max_upload_bytes=2000) as client:
            assert client.post("/inference/", content=endless()).status_code == 413
            headers = {"content-type": "multipart/form-data; boundary=a"}
            head = b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

            def form() -> Iterator[bytes]:
                yield head
                yield from endless()

            answer = client.post(ROUTE, content=form(), headers=headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (
                413,
                "invalid_request_error",
            )

    def test_sound_that_is_too_long(self, tone: Tone) -> None:
        with service(llm_max_audio_s=2) as client:
            answer = post(client, wav_bytes(tone(3)))
            assert answer.json()["error"]["code"] == "decode_limit_exceeded"

    def test_a_full_queue(self, tone: Tone) -> None:
        refused = threading.Event()

        class Held(FakeEngine):
            def transcribe(
                self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
            ) -> list[WindowResult]:
                if windows[0].shape[0] == SAMPLE_RATE // 2:
                    refused.wait(60)
                return super().transcribe(windows, options, stop)

        with service(lambda _: Held(), llm_queue_size=1) as client:

            def ask(_: int) -> int:
                answer = post(client, wav_bytes(tone(0.5)))
                if answer.status_code == 429:
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.headers["x-should-retry"] == "true"
                    assert answer.json()["error"]["type"] == "rate_limit_error"
                    refused.set()
                return int(answer.status_code)

            assert set(all_at_once(6, ask)) == {200, 429}


class TestLoading:
    def test_progress_is_seen_and_callers_are_sent_away(self, tone: Tone) -> None:
        gate = threading.Event()

        def load(report: Report) -> Engine:
            report(0.25, "Downloading: 1 of 4 MB.")
            gate.wait(20)
            return FakeEngine()

        with TestClient(create_app(settings(), load)) as client:
            until(lambda: client.get("/ready").json()["progress"] == 0.25)
            ready = client.get("/ready")
            assert (ready.status_code, ready.json()["detail"]) == (503, "Downloading: 1 of 4 MB.")
            assert client.get("/health").status_code == 200
            assert client.get("/v1/models").json()["data"][0]["loaded"] is False
            answer = post(client, wav_bytes(tone(0.5)))
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_ready")
            assert "25%" in answer.json()["error"]["message"]
            assert answer.headers["retry-after"] == "5"
            gate.set()
            until(lambda: client.get("/ready").status_code == 200)
            assert post(client, wav_bytes(tone(0.5))).status_code == 200

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (ModelNotFound("No model X.", hint="Set LOCAL_LLM_MODEL."), "No model X. Set LOCAL"),
            (OSError("disk on fire"), "OSError: disk on fire"),
        ],
    )
    def test_a_failure_is_told_and_the_service_stays_up(
        self, tone: Tone, error: Exception, says: str
    ) -> None:
        def load(report: Report) -> Engine:
            raise error

        with service(load) as client:
            ready = client.get("/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "failed")
            assert says in ready.json()["detail"]
            answer = post(client, wav_bytes(tone(0.5)))
            assert answer.status_code == 503
            assert says in answer.json()["error"]["message"]
            assert answer.headers["x-should-retry"] == "false"
            assert client.get("/health").status_code == 200


class Slow(FakeEngine):
    """Computes until nobody waits, and notes when that was."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.stopped_after_s: float | None = None

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        if windows[0].shape[0] != 4 * SAMPLE_RATE:
            return super().transcribe(windows, options, stop)
        started = time.monotonic()
        self.began.set()
        while not stop():
            time.sleep(0.01)
            assert time.monotonic() - started < 60
        self.stopped_after_s = time.monotonic() - started
        raise Cancelled("stopped")


@contextmanager
def running(app: Any) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


def test_a_client_that_hangs_up_ends_the_work(tone: Tone) -> None:
    engine = Slow()
    with running(create_app(settings(), lambda _: engine)) as url:
        until(lambda: requests.get(f"{url}/ready", timeout=60).status_code == 200)
        form = {"file": ("a.wav", io.BytesIO(wav_bytes(tone(4.0))))}
        asked = requests.Request("POST", url + ROUTE, files=form).prepare()
        with closing(HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection:
            connection.request("POST", ROUTE, asked.body, dict(asked.headers))
            assert engine.began.wait(20)
        until(lambda: engine.stopped_after_s is not None)
        answer = requests.post(
            url + ROUTE, files={"file": ("a.wav", wav_bytes(tone(1.0)))}, timeout=60
        )
        assert json.loads(answer.text)["text"] == "три три"


def test_the_real_openai_client(tone: Tone) -> None:
    with running(create_app(settings())) as url:
        until(lambda: requests.get(f"{url}/ready", timeout=60).status_code == 200)
        with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            verbose = client.audio.transcriptions.create(
                file=("окно.wav", wav_bytes(tone(1.0))),
                model="whisper-1",
                response_format="verbose_json",
                timestamp_granularities=["word", "segment"],
                language="ru",
                temperature=0.2,
            )
            assert (verbose.text, verbose.language, verbose.duration) == ("три три", "russian", 1.0)
            assert verbose.words is not None
            assert [word.end for word in verbose.words] == [0.5, 1.0]
            assert [model.id for model in client.models.list().data] == ["fake"]
            with pytest.raises(openai.NotFoundError) as refused:
                client.audio.transcriptions.create(
                    file=("a.wav", wav_bytes(tone(1.0))), model="gpt-9"
                )
            assert refused.value.code == "model_not_found"
