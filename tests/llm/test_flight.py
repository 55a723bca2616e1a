"""A long sound sent straight to the model service: many windows at once, one answer."""

import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
import requests
from fastapi.testclient import TestClient
from tests.waiting import until

from stenograf.contract.errors import Cancelled
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, wav_bytes
from stenograf.llm.app import create_app
from stenograf.llm.engines.base import EngineOptions, Stop, WindowResult, never
from stenograf.llm.engines.fake import FakeEngine

from .test_api import ROUTE, Tone, post, running, service, settings

WINDOW_S = 30
Answer = Future[Any]


class Watched(FakeEngine):
    """Notes its batches and stands still while its gate is shut; chokes where a window is loud."""

    def __init__(self, delay_s: float = 0.2) -> None:
        super().__init__(delay_s)
        self.batches: list[int] = []
        self.given_up = 0
        self.gate = threading.Event()
        self.gate.set()

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        self.batches.append(len(windows))
        while not self.gate.wait(0.01):
            if stop():
                self.given_up += 1
                raise Cancelled("Nobody waits for this any more.")
        if any(window.max() > 0.9 for window in windows):
            raise ValueError("poison")
        return super().transcribe(windows, options, stop)


@pytest.fixture(scope="module")
def sound(tone: Tone) -> bytes:
    """Some four minutes whose level falls all the time, with pauses to cut in."""
    waveform = tone(250.0, 0.5) * np.geomspace(1.0, 1e-2, 250 * SAMPLE_RATE)
    for pause_s in range(7, 250, 11):
        waveform[pause_s * SAMPLE_RATE : pause_s * SAMPLE_RATE + SAMPLE_RATE // 2] = 0
    return wav_bytes(waveform.astype(np.float32))


def patient(engine: Watched, **overrides: Any) -> AbstractContextManager[TestClient]:
    """A service whose answers do not begin before they are known."""
    return service(lambda _: engine, answer_start_s=120, **overrides)


def events(answer: Any) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]},
        {"response_format": "srt"},
        {"response_format": "json", "stream": "true"},
    ],
    ids=["verbose_json", "srt", "stream"],
)
def test_the_answer_is_that_of_one_window_after_the_other(
    sound: bytes, fields: dict[str, Any]
) -> None:
    answers, batches = [], []
    for max_batch in (1, 4):
        engine = Watched()
        with patient(engine, llm_max_batch=max_batch) as client:
            answers.append(post(client, sound, **fields))
        batches.append(engine.batches[1:])  # but the one to warm up
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert set(batches[0]) == {1}
    assert max(batches[1]) == 4
    assert sum(batches[1]) == len(batches[0]) >= 250 / WINDOW_S


def test_who_reads_along_gets_the_first_text_before_that_of_a_batch(sound: bytes) -> None:
    engine = Watched()
    with patient(engine, llm_max_batch=4) as client:
        answer = post(client, sound, stream="true")
    assert engine.batches[:2] == [1, 1]  # the first is the one to warm up
    assert max(engine.batches) == 4
    told = events(answer)
    deltas = [event["delta"] for event in told if event["type"] == "transcript.text.delta"]
    assert "".join(deltas) == told[-1]["text"]
    assert len(deltas) > 8


def test_an_error_of_a_window_comes_in_its_turn(sound: bytes, tone: Tone) -> None:
    quiet, loud = tone(70.0), tone(20.0, 0.95)
    broken = wav_bytes(np.concatenate([quiet, loud, quiet]))
    engine = Watched()
    with patient(engine, llm_max_batch=4) as client:
        whole = post(client, broken)
        assert (whole.status_code, "poison" in whole.text) == (500, False)
        told = events(post(client, broken, stream="true"))
        assert [event["type"] for event in told[:-1]] == ["transcript.text.delta"] * (len(told) - 1)
        assert len(told) > 8
        assert "error" in told[-1]
        assert post(client, sound).status_code == 200


def test_a_client_that_hangs_up_ends_all_of_it(sound: bytes, tone: Tone) -> None:
    engine = Watched()
    with running(create_app(settings(llm_max_batch=2), lambda _: engine)) as url:
        until(lambda: requests.get(f"{url}/ready", timeout=20).status_code == 200)
        engine.gate.clear()
        form = {"file": ("a.wav", io.BytesIO(sound))}
        asked = requests.Request("POST", url + ROUTE, files=form).prepare()
        with closing(HTTPConnection(url.removeprefix("http://"), timeout=20)) as connection:
            connection.request("POST", ROUTE, asked.body, dict(asked.headers))
            until(lambda: len(engine.batches) == 2)
        until(lambda: engine.given_up)
        engine.gate.set()  # what it was not asked to give up it would compute now
        short = requests.post(
            url + ROUTE, files={"file": ("a.wav", wav_bytes(tone(1.0)))}, timeout=60
        )
        assert short.status_code == 200
    assert len(engine.batches) - engine.given_up == 2  # the one to warm up, and the short one


@contextmanager
def beside_it(
    sound: bytes, tone: Tone, **overrides: Any
) -> Iterator[tuple[threading.Event, Answer, list[Answer]]]:
    """A long sound whose first batch stands before the gate, and the six clips that came since."""
    engine = Watched()
    with patient(engine, **overrides) as client, ThreadPoolExecutor(8) as pool:
        engine.gate.clear()
        try:
            long = pool.submit(post, client, sound)
            until(lambda: len(engine.batches) == 2)
            clip = wav_bytes(tone(1.0))
            yield engine.gate, long, [pool.submit(post, client, clip) for _ in range(6)]
        finally:
            engine.gate.set()


def test_it_leaves_places_in_the_queue_to_others(sound: bytes, tone: Tone) -> None:
    with beside_it(sound, tone, llm_max_batch=8, llm_queue_size=8) as (gate, long, clips):
        time.sleep(0.5)
        assert not any(clip.done() for clip in clips)  # refused ones would be
        gate.set()
        assert [clip.result().status_code for clip in clips] == [200] * 6
        assert long.result().status_code == 200


def test_what_has_begun_is_not_refused_in_its_middle(sound: bytes, tone: Tone) -> None:
    with beside_it(sound, tone, llm_max_batch=1, llm_queue_size=2) as (gate, long, clips):
        until(lambda: sum(clip.done() for clip in clips) >= 4)
        gate.set()
        assert long.result().status_code == 200
        assert {clip.result().status_code for clip in clips} == {200, 429}
