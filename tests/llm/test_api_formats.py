"""The model service in every format of OpenAI's audio API, whole and streamed."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import openai
import pytest
import requests
import srt
import webvtt
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.waiting import until

from stenograf.contract.errors import OutOfResources
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, wav_bytes
from stenograf.contract.transcript import Segment
from stenograf.llm.app import create_app
from stenograf.llm.engines.base import EngineOptions, Stop, WindowResult, never
from stenograf.llm.engines.fake import FakeEngine

from .test_api import ROUTE, Slow, Tone, post, running, service, settings

TRANSLATIONS = "/v1/audio/translations"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with service() as client:
        yield client


def frames(body: str) -> list[Any]:
    lines = [line for line in body.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_subtitles(client: TestClient, tone: Tone) -> None:
    body = wav_bytes(tone(40))
    answer = post(client, body, response_format="srt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    cues = list(srt.parse(answer.text))
    vtt = post(client, body, response_format="vtt")
    assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
    assert [cue.text for cue in webvtt.from_string(vtt.text)] == [cue.content for cue in cues]
    assert len(cues) > 5
    assert cues[-1].end.total_seconds() == 40
    assert all(len(line) <= 42 for cue in cues for line in cue.content.splitlines())


def test_one_speaker_is_a(client: TestClient, tone: Tone) -> None:
    answer = post(client, wav_bytes(tone(8)), response_format="diarized_json").json()
    assert set(answer) == {"task", "duration", "text", "segments", "usage"}
    assert [s["id"] for s in answer["segments"]] == ["seg_0", "seg_1"]
    assert {s["speaker"] for s in answer["segments"]} == {"A"}
    assert {s["type"] for s in answer["segments"]} == {"transcript.text.segment"}


def test_a_stream_gives_window_by_window(client: TestClient, tone: Tone) -> None:
    body = wav_bytes(tone(65))
    events = frames(post(client, body, stream="true").text)
    done = events[-1]
    assert done["type"] == "transcript.text.done"
    assert {event["type"] for event in events[:-1]} == {"transcript.text.delta"}
    assert "".join(event["delta"] for event in events[:-1]) == done["text"]
    assert done["text"] == post(client, body).json()["text"]
    assert done["usage"]["input_tokens"] == 65 * 50
    assert done["usage"]["output_tokens"] == len(done["text"].split())


def test_a_stream_begins_before_the_last_window(tone: Tone) -> None:
    gate = threading.Event()

    class Gated(FakeEngine):
        asked = 0

        def transcribe(
            self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
        ) -> list[WindowResult]:
            Gated.asked += windows[0].shape[0] > SAMPLE_RATE
            if Gated.asked > 1:
                gate.wait(60)
            return super().transcribe(windows, options, stop)

    with running(create_app(settings(), lambda _: Gated())) as url:
        until(lambda: requests.get(f"{url}/ready", timeout=60).status_code == 200)
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            events: Any = client.audio.transcriptions.create(
                file=("a.wav", wav_bytes(tone(45))), model="whisper-1", stream=True
            )
            first = next(events)
            assert first.type == "transcript.text.delta"
            assert not gate.is_set()
            gate.set()
            assert list(events)[-1].type == "transcript.text.done"


def test_a_word_at_a_cut_is_mended(tone: Tone) -> None:
    class Halves(FakeEngine):
        def transcribe(
            self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
        ) -> list[WindowResult]:
            (window,) = windows
            end = window.shape[0]
            first = end > 20 * SAMPLE_RATE
            text = " Это стено" if first else " стенография."
            return [WindowResult("ru", (Segment(start=0, end=end, text=text),))]

    with service(lambda _: Halves()) as client:
        body = wav_bytes(tone(40))
        assert post(client, body).json()["text"] == "Это стенография."
        events = frames(post(client, body, stream="true").text)
        assert "".join(event["delta"] for event in events[:-1]) == "Это стенография."


def test_probabilities_of_tokens(client: TestClient, tone: Tone) -> None:
    body = wav_bytes(tone(1))
    plain = post(client, body, **{"include[]": "logprobs"}).json()
    token = {"token": " три", "bytes": list(" три".encode()), "logprob": -0.1}
    assert plain["logprobs"] == [token, token]
    verbose = post(client, body, response_format="verbose_json", **{"include[]": "logprobs"}).json()
    assert verbose["segments"][0]["logprobs"] == [token, token]
    events = frames(post(client, body, stream="true", **{"include[]": "logprobs"}).text)
    assert events[0]["logprobs"] == events[1]["logprobs"] == [token, token]
    assert "logprobs" not in post(client, body).json()
    refused = post(client, body, response_format="srt", **{"include[]": "logprobs"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "include[]")


def test_translation(client: TestClient, tone: Tone) -> None:
    given = {"file": ("a.wav", wav_bytes(tone(1)))}
    answer = client.post(TRANSLATIONS, files=given, data={"response_format": "verbose_json"}).json()
    assert (answer["task"], answer["language"]) == ("translate", "english")
    refused = client.post(TRANSLATIONS, files=given, data={"response_format": "diarized_json"})
    assert refused.json()["error"]["param"] == "response_format"


def test_a_model_that_cannot_translate(embedded_only: TestClient, tone: Tone) -> None:
    given = {"file": ("a.wav", wav_bytes(tone(1)))}
    refused = embedded_only.post(TRANSLATIONS, files=given)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "task")
    assert "cannot translate" in error["message"]


@pytest.fixture
def embedded_only() -> Iterator[TestClient]:
    """A model that only transcribes."""

    class Transcriber(FakeEngine):
        def __init__(self) -> None:
            super().__init__()
            self.capabilities = self.capabilities.__class__(
                model="t", languages=("ru",), tasks=("transcribe",)
            )

    with service(lambda _: Transcriber()) as client:
        yield client


def test_the_row_of_the_model_tells_what_it_can(client: TestClient) -> None:
    (row,) = client.get("/v1/models").json()["data"]
    assert (row["tasks"], row["logprobs"]) == (["transcribe", "translate"], True)


@pytest.mark.parametrize("format", ["json", "verbose_json", "text", "srt", "vtt"])
def test_a_long_answer_begins_early(tone: Tone, format: str) -> None:
    with service(fake_delay_s=0.8, answer_start_s=0.1) as client:
        late = post(client, wav_bytes(tone(40)), response_format=format)
    with service() as client:
        known = post(client, wav_bytes(tone(40)), response_format=format)
    assert late.content != known.content
    if "json" in format:
        assert late.json() == known.json()
    elif format == "vtt":
        assert late.text.startswith("WEBVTT\n\n\n")
        assert late.text.split() == known.text.split()
    else:
        assert late.text.strip() == known.text.strip()


def test_a_late_failure_is_told_in_the_body(tone: Tone) -> None:
    class Failing(FakeEngine):
        def transcribe(
            self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
        ) -> list[WindowResult]:
            if windows[0].shape[0] == 2 * SAMPLE_RATE:
                time.sleep(1.5)
                raise OutOfResources("Memory ran out.")
            return super().transcribe(windows, options, stop)

    with service(lambda _: Failing(), answer_start_s=0.1) as client:
        whole = post(client, wav_bytes(tone(2)))
        assert (whole.status_code, whole.json()["error"]["code"]) == (200, "out_of_resources")
        events = frames(post(client, wav_bytes(tone(2)), stream="true").text)
        assert events[-1]["error"]["code"] == "out_of_resources"
        assert events[-1]["error"]["type"] == "server_error"


def test_a_client_that_leaves_a_stream_ends_the_work(tone: Tone) -> None:
    engine = Slow()
    with running(create_app(settings(answer_start_s=0.1), lambda _: engine)) as url:
        until(lambda: requests.get(f"{url}/ready", timeout=60).status_code == 200)
        with requests.post(
            url + ROUTE,
            data={"stream": "true"},
            files={"file": ("a.wav", wav_bytes(tone(4.0)))},
            stream=True,
            timeout=60,
        ) as response:
            assert next(response.iter_content(64)) == b": ping\n\n"
        until(lambda: engine.stopped_after_s is not None)


NAMES = st.sampled_from(
    [
        "model", "language", "languages[]", "prompt", "response_format", "stream", "temperature",
        "timestamp_granularities[]", "include[]", "chunking_strategy", "hotwords", "task",
        "beam_size", "no_speech_threshold", "decode[beam_size]", "known_speaker_names[]", "",
    ]
)  # fmt: skip
VALUES = st.text(max_size=10) | st.sampled_from(
    ["true", "srt", "verbose_json", "word", "nan", "{}"]
)


@hypothesis_settings(max_examples=60)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from([ROUTE, TRANSLATIONS]))
def test_no_form_is_a_server_error(client: TestClient, fields: dict[str, str], url: str) -> None:
    body = wav_bytes(np.full(1600, 0.1, np.float32))
    answer = client.post(url, files={"file": ("a.wav", body)}, data=fields)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert {"message", "type", "param", "code"} <= set(answer.json()["error"])
