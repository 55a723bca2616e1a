"""The client of the model service: what it reads, how it fails, how it ends."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stenograf.backend.answers import read_heard
from stenograf.backend.connection import Aborted
from stenograf.backend.engine import EngineClient
from stenograf.backend.refusals import error_of
from stenograf.contract.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotReady,
    NetworkTimeout,
    OutOfResources,
    Overloaded,
    StenografError,
    Unavailable,
    UndecodableAudio,
)
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.contract.pcm import wav_bytes

from .desk import until
from .model_server import ModelServer, Reply, heard

SILENCE = np.zeros(16_000, np.float32)
RU = TranscribeOptions()


@pytest.fixture
def engine(model: ModelServer) -> Iterator[EngineClient]:
    client = EngineClient(model.url, api_key="secret", window_timeout_s=60)
    yield client
    client.close()


def ask(engine: EngineClient, options: TranscribeOptions = RU) -> Any:
    with engine.session() as session:
        return engine.transcribe(session, SILENCE, options, "m", lambda: False)


@pytest.mark.parametrize("n_samples", [1, 30 * 16_000])
def test_our_service_gets_the_very_samples_as_flac(
    model: ModelServer, engine: EngineClient, n_samples: int
) -> None:
    waveform = np.random.default_rng(1).normal(0, 0.4, n_samples).astype(np.float32)
    with engine.session() as session:
        engine.transcribe(session, waveform, RU, "m", lambda: False)
    assert (model.asked[-1].sent_as, model.asked[-1].wav) == ("audio/flac", wav_bytes(waveform))


def test_words_are_dealt_to_their_segments() -> None:
    answer = {
        "language": "russian",
        "segments": [
            {"start": 0.0, "end": 0.5, "text": " Раз, два."},
            {"start": 0.5, "end": 1.0, "text": " Три."},
        ],
        "words": [
            {"word": "Раз,", "start": 0.0, "end": 0.2},
            {"word": "два.", "start": 0.2, "end": 0.6},
            {"word": "Три.", "start": 0.5, "end": 1.0},
        ],
    }
    segments = read_heard(answer, 16_000, "ru").segments
    assert [[word.text for word in segment.words] for segment in segments] == [
        [" Раз,", " два."],
        [" Три."],
    ], "with the spaces that the text has and the list has not"
    answer["words"].append({"word": "лишнее", "start": 0.9, "end": 1.0})  # type: ignore[attr-defined]
    by_time = read_heard(answer, 16_000, "ru").segments
    assert [word.text for word in by_time[1].words] == [" Три.", "лишнее"]


def test_text_without_segments_is_one_segment() -> None:
    only = read_heard({"text": " да ", "language": "ru"}, 16_000, "ru")
    assert [(s.start, s.end) for s in only.segments] == [(0, 16_000)]
    assert read_heard({"text": "  "}, 16_000, "ru").segments == ()


def test_words_keep_the_signs_that_stand_without_a_space() -> None:
    words = [
        {"word": word, "start": i / 10, "end": (i + 1) / 10}
        for i, word in enumerate(["Кое", "-где", "100", "%,", "да"])
    ]
    answer = {
        "text": "Кое-где 100%, да",
        "segments": [{"start": 0, "end": 1, "text": " Кое-где 100%, да"}],
        "words": words,
    }
    (segment,) = read_heard(answer, 16_000, "ru").segments
    assert [word.text for word in segment.words] == [" Кое", "-где", " 100", "%,", " да"]


def test_words_that_are_tokens_are_put_together() -> None:
    rows = [
        {"word": word, "start": i / 10, "end": (i + 1) / 10, "probability": 0.5}
        for i, word in enumerate([" При", "вет", ",", " мир"])
    ]
    row: dict[str, Any] = {"start": 0, "end": 1, "text": " Привет, мир", "words": rows}
    (segment,) = read_heard({"segments": [row]}, 16_000, "ru").segments
    assert [(word.text, word.start, word.end) for word in segment.words] == [
        (" Привет,", 0, 4800),
        (" мир", 4800, 6400),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [{"word": " ми\ufffd"}, {"start": None}, {"end": None}, {"start": -0.01, "end": -0.01}],
)
def test_words_without_times_or_letters_are_left_out(spoilt: dict[str, Any]) -> None:
    words = [{"word": " да", "start": 0, "end": 0.5}, {"word": " нет", "start": 0.5, "end": 1}]
    row: dict[str, Any] = {"start": 0, "end": 1, "text": " да нет"}
    answer = {"segments": [row | {"words": [words[0], words[1] | spoilt]}]}
    (segment,) = read_heard(answer, 16_000, "ru").segments
    assert (segment.text, segment.words) == (" да нет", ())


def test_a_failure_after_the_answer_began_is_a_failure(
    engine: EngineClient, model: ModelServer
) -> None:
    body = b'   {"error": {"message": "Memory ran out.", "code": "out_of_resources"}}'
    model.answer = lambda _: Reply(body=body)
    with pytest.raises(OutOfResources, match="Memory ran out"):
        ask(engine)


@pytest.mark.parametrize(
    ("answer", "asked", "code"),
    [
        ({"language": "russian"}, "auto", "ru"),
        ({"language": "English", "language_code": "en"}, "auto", "en"),
        ({"language": "klingon"}, "auto", ""),
        ({}, "ru", "ru"),
    ],
)
def test_language_becomes_a_code(answer: dict[str, str], asked: str, code: str) -> None:
    assert read_heard({"text": "", **answer}, 16_000, asked).language == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ROW = st.fixed_dictionaries(
    {"start": JSON, "end": JSON, "text": JSON, "word": JSON},
    optional={"tokens": JSON, "avg_logprob": JSON, "no_speech_prob": JSON, "probability": JSON},
)


ANSWER = st.fixed_dictionaries(
    {}, optional={"segments": st.lists(ROW), "words": st.lists(ROW), "text": JSON}
)


@given(answer=JSON | ANSWER)
def test_any_answer_is_read_or_named_unreadable(answer: object) -> None:
    try:
        result = read_heard(answer, 16_000, "ru")
    except Unavailable:
        return
    assert all(0 <= segment.start <= segment.end for segment in result.segments)


@pytest.mark.parametrize("moment", [float("inf"), float("nan"), 10**400, "x", None])
def test_a_time_that_is_none_makes_the_answer_unreadable(moment: object) -> None:
    with pytest.raises(Unavailable):
        read_heard({"segments": [{"start": moment, "end": 1.0, "text": "да"}]}, 16_000, "ru")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"", BadRequest),
        (401, b"", ModelNotReady),
        (403, b'{"error": {"code": "unauthorized", "message": "no"}}', ModelNotReady),
        (404, b"{}", ModelNotFound),
        (422, b'{"error": {"code": "undecodable_audio", "message": "no"}}', UndecodableAudio),
        (429, b"busy", Overloaded),
        (500, b"<html>", Unavailable),
        (502, b"", Unavailable),
        (503, b'{"error": {"code": "model_not_ready", "message": "x"}}', ModelNotReady),
        (504, b"", NetworkTimeout),
        (507, b"", OutOfResources),
        (500, b'{"error": {"code": "invalid_request", "message": "x"}}', Unavailable),
        (400, b'{"error": {"code": "unavailable", "message": "x"}}', BadRequest),
        (400, b'{"error": "text"}', BadRequest),
        (500, b"[" * 100_000, Unavailable),
    ],
)
def test_an_error_answer_becomes_the_class_that_decides(
    status: int, body: bytes, kind: type[StenografError]
) -> None:
    error = error_of(status, {"retry-after": "7"}, body)
    assert type(error) is kind
    assert error.retry_after_s == 7
    assert error.message


def test_connections_are_kept_and_reopened(engine: EngineClient, model: ModelServer) -> None:
    ask(engine)
    with engine.session() as first:
        pass
    ask(engine)
    with engine.session() as second:
        assert second is first
    model.answer = lambda asked: Reply(body=heard(asked), hang_up=len(model.asked) == 3)
    assert ask(engine).segments
    assert len(model.asked) == 4


def test_language_auto_is_left_to_the_model(engine: EngineClient, model: ModelServer) -> None:
    ask(engine, TranscribeOptions(decode=DecodeOptions(language="auto", word_timestamps=False)))
    assert "language" not in model.asked[0].fields
    assert model.asked[0].fields["timestamp_granularities[]"] == ["segment"]


def test_the_choice_of_languages_is_passed_on(engine: EngineClient, model: ModelServer) -> None:
    ask(engine, TranscribeOptions(decode=DecodeOptions(language="auto", languages=("en", "ru"))))
    assert model.asked[0].fields["languages[]"] == ["en", "ru"]


def test_a_slow_window_times_out(model: ModelServer) -> None:
    engine = EngineClient(model.url, window_timeout_s=1)
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    started = time.monotonic()
    with pytest.raises(NetworkTimeout):
        ask(engine)
    assert time.monotonic() - started < 15
    engine.close()


def test_white_space_does_not_make_a_late_answer_a_timely_one(model: ModelServer) -> None:
    engine = EngineClient(model.url, window_timeout_s=1)
    model.answer = lambda _: Reply(delay_s=30, filled=True)
    started = time.monotonic()
    with pytest.raises(NetworkTimeout):
        ask(engine)
    assert time.monotonic() - started < 15
    until(lambda: model.gone_clients)
    engine.close()


def test_who_waits_in_line_is_not_late_while_others_are_answered(model: ModelServer) -> None:
    engine = EngineClient(model.url, window_timeout_s=3)
    answers = iter([Reply(delay_s=9, filled=True)])
    model.answer = lambda asked: next(answers, Reply(body=heard(asked)))
    failures: list[StenografError] = []

    def wait_in_line() -> None:
        with pytest.raises(StenografError) as failure:
            ask(engine)
        failures.append(failure.value)

    waiting = threading.Thread(target=wait_in_line)
    waiting.start()
    while waiting.is_alive():
        waiting.join(0.2)
        if model.asked:
            ask(engine)
    assert type(failures[0]) is Unavailable, "the server hung up in the end"
    engine.close()


def test_abort_ends_a_waiting_request(engine: EngineClient, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    failures: list[BaseException] = []
    sessions: list[Any] = []

    def work() -> None:
        with engine.session() as session:
            sessions.append(session)
            try:
                engine.transcribe(session, SILENCE, RU, "m", lambda: False)
            except Aborted as error:
                failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: model.at_once == 1)
    sessions[0].abort()
    thread.join(20)
    assert not thread.is_alive()
    assert len(failures) == 1
    until(lambda: model.gone_clients == 1)
    with engine.session() as fresh:
        assert fresh is not sessions[0]


def test_nobody_there() -> None:
    engine = EngineClient("http://127.0.0.1:1")
    for call in (engine.check, engine.model_id, lambda: ask(engine)):
        with pytest.raises(ModelNotReady):
            call()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"status": "loading", "progress": 0.25}, "25%"),
        ({"status": "loading", "progress": "x"}, "still loading"),
        ({"status": "failed", "detail": "There is no folder x."}, "no folder x"),
    ],
)
def test_not_ready_says_why(
    engine: EngineClient, model: ModelServer, body: dict[str, object], said: str
) -> None:
    engine.check()
    model.ready = Reply(503, body)
    with pytest.raises(ModelNotReady, match=said):
        engine.check()


def test_a_server_without_ready_is_asked_for_its_models(
    engine: EngineClient, model: ModelServer
) -> None:
    model.ready = Reply(404, {"detail": "Not Found"})
    engine.check()
    assert engine.model_id() == "model-a"


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"data": []}', b'{"data": [1]}'])
def test_unreadable_models(model: ModelServer, body: bytes) -> None:
    engine = EngineClient(model.url)
    model.ready = Reply(404, {})
    model.models = Reply(body=body)
    with pytest.raises(Unavailable):
        engine.model_id()
    engine.close()
