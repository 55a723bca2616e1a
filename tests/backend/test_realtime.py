"""Live transcription at the front door: OpenAI's SDK, real speech, and clients that go wrong."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import openai
import pytest
import requests
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent as Completed,
)
from starlette.testclient import WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus

from stenograf.audio.vad import VoiceDetector
from stenograf.backend.realtime.config import AudioFormat, ServerVad
from stenograf.backend.realtime.ear import Ear, Happening, SpeechStarted, SpeechStopped, Utterance

from ..servers import ROOT, SAMPLES, House, Process
from .desk import Desk, until
from .model_server import ModelServer, Reply, heard
from .sounds import noise, wav

RATE = 24_000
SHORT = ("extension_ru", "balance_ru", "waiting_time_ru", "order_number_ru")
GAP_S = 1.5
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def speech(name: str) -> NDArray[np.float32]:
    sound, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32", always_2d=True)
    resampled: NDArray[np.float32] = soxr.resample(sound.mean(axis=1), rate, RATE)
    return resampled


def reference(*names: str) -> str:
    return " ".join((SAMPLES / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def pause(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def pcm(sound: NDArray[np.float32]) -> bytes:
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


def plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalpha() or char.isspace())


def error_rate(expected: str, text: str) -> float:
    return float(jiwer.wer(plain(expected), plain(text)))


@pytest.fixture(scope="module")
def conversation() -> bytes:
    """Four phrases with pauses between them."""
    parts = [part for name in SHORT for part in (speech(name), pause(GAP_S))]
    return pcm(np.concatenate([pause(0.5), *parts]))


# --- with OpenAI's SDK, the embedded model and real speech


def sdk(url: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def settings_of(turn_detection: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": RATE},
                "transcription": {"model": "whisper-1", "language": "ru"},
                "turn_detection": turn_detection,
            }
        },
    }


async def spoken(
    url: str, sound: bytes, turn_detection: dict[str, Any] | None, *, done: int, key: str = "none"
) -> list[Any]:
    """Every event of a session that ends with the `done`-th completed item."""
    events: list[Any] = []
    client = sdk(url, key)
    query = {"intent": "transcription"}
    async with client.realtime.connect(model="whisper-1", extra_query=query) as live:
        events.append(await live.recv())
        session: Any = settings_of(turn_detection)
        await live.session.update(session=session)
        for start in range(0, len(sound), 9_600):  # 200 ms
            part = base64.b64encode(sound[start : start + 9_600]).decode()
            await live.input_audio_buffer.append(audio=part)
        if turn_detection is None:
            await live.input_audio_buffer.commit()
        while sum(isinstance(event, Completed) for event in events) < done:
            async with asyncio.timeout(120):
                events.append(await live.recv())
    await client.close()
    return events


def texts(events: list[Any]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, Completed)]


def test_the_sdk_hears_a_committed_recording_like_a_file(house: House) -> None:
    sound = speech("monologue_ru")[: 33 * RATE]
    events = asyncio.run(spoken(house.url, pcm(sound), None, done=1))
    assert [event.type for event in events[:5]] == [
        "session.created",
        "session.updated",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert events[0].session.type == events[1].session.type == "transcription"
    assert events[1].session.audio.input.turn_detection is None
    [text] = texts(events)
    item_id = events[2].item_id
    deltas = [event.delta for event in events if event.type == f"{TRANSCRIPTION}.delta"]
    assert len(deltas) > 1, "33 s are several windows, and each is told when it is there"
    assert "".join(deltas) == text
    assert {event.item_id for event in events[5:]} == {item_id}
    assert events[-1].usage.type == "duration"
    assert events[-1].usage.seconds == 33
    answer = requests.post(
        f"{house.url}/v1/audio/transcriptions",
        files={"file": wav(sound.astype(np.float64), RATE)},
        data={"model": "whisper-1"},
        timeout=120,
    )
    assert error_rate(answer.json()["text"], text) < 0.4


def test_turns_come_out_by_themselves_at_the_right_times(house: House, conversation: bytes) -> None:
    vad = {"type": "server_vad", "prefix_padding_ms": 200, "silence_duration_ms": 700}
    events = asyncio.run(spoken(house.url, conversation, vad, done=len(SHORT)))
    started = [e for e in events if e.type == "input_audio_buffer.speech_started"]
    stopped = [e for e in events if e.type == "input_audio_buffer.speech_stopped"]
    committed = [e for e in events if e.type == "input_audio_buffer.committed"]
    completed = [e for e in events if isinstance(e, Completed)]
    order = [event.item_id for event in started]
    assert len(set(order)) == len(SHORT)
    for row in (stopped, committed, completed):
        assert [event.item_id for event in row] == order
    assert [event.previous_item_id for event in committed] == [None, *order[:-1]]
    at_ms = 500.0
    for name, begin, end in zip(SHORT, started, stopped, strict=True):
        voice = np.abs(speech(name)) > 0.02
        first_ms = at_ms + 1000 * int(np.argmax(voice)) / RATE
        last_ms = at_ms + 1000 * (len(voice) - int(np.argmax(voice[::-1]))) / RATE
        assert first_ms - 200 - 250 < begin.audio_start_ms < first_ms + 100
        assert last_ms < end.audio_end_ms < last_ms + 700 + 500
        at_ms += 1000 * (len(voice) / RATE + GAP_S)
    assert error_rate(reference(*SHORT), " ".join(texts(events))) < 0.6


def test_the_documented_example_runs_as_it_stands(house: House, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "realtime.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "http://127.0.0.1:8009" in code
    (tmp_path / "speech.pcm").write_bytes(pcm(speech("balance_ru")))
    run = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:8009", house.url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert error_rate(reference("balance_ru"), run.stdout) < 0.6


def test_a_key_is_asked_for_as_on_every_route(
    make_backend: Callable[..., Process], conversation: bytes
) -> None:
    backend = make_backend(BACKEND_API_KEYS="a-key-of-sufficient-length-0123456789")
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(spoken(backend.url, b"", None, done=0, key="wrong"))
    assert refused.value.response.status_code == 401
    key = "a-key-of-sufficient-length-0123456789"
    events = asyncio.run(spoken(backend.url, pcm(speech("extension_ru")), None, done=1, key=key))
    assert error_rate(reference("extension_ru"), *texts(events)) < 0.6


# --- in process, with a model server that does as it is told


class Talk:
    """A client on one socket."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self._socket = socket

    def send(self, kind: str, **fields: Any) -> None:
        self._socket.send_text(json.dumps({"type": kind, **fields}))

    def send_raw(self, text: str) -> None:
        self._socket.send_text(text)

    def append(self, sound: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(sound).decode())

    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = self._socket.receive_json()
        return event

    def until(self, kind: str) -> dict[str, Any]:
        while (event := self.event())["type"] != kind:
            assert event["type"] != "error", event
        return event

    def configure(self, **audio_input: Any) -> dict[str, Any]:
        session = {"type": "transcription", "audio": {"input": audio_input}}
        self.send("session.update", session=session)
        return self.until("session.updated")


@pytest.fixture
def talk(desk: Desk) -> Iterator[Talk]:
    with desk.http.websocket_connect("/v1/realtime?intent=transcription") as socket:
        talk = Talk(socket)
        talk.until("session.created")
        yield talk


def loud(seconds: float, seed: int = 0) -> bytes:
    """Noise at 24 kHz."""
    return pcm(noise(seconds * RATE / 16_000, seed).astype(np.float32))


def hears_everything(talk: Talk) -> None:
    """Send noise as speech: at threshold 0 everything is."""
    talk.configure(turn_detection={"type": "server_vad", "threshold": 0})


def cuts_of(length: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, length), max_size=30).map(sorted)


SPEECH = pcm(np.concatenate([speech("extension_ru"), pause(1), speech("balance_ru"), pause(1)]))
DETECTOR = VoiceDetector()


def listened(ear: Ear, parts: list[bytes], turns: ServerVad | None) -> list[Happening]:
    happened = ear.configure(AudioFormat(rate=RATE), turns)
    for part in parts:
        happened += ear.feed(part)
    return happened


def happenings(parts: list[bytes], turns: ServerVad | None) -> list[Happening]:
    ear = Ear(DETECTOR, max_samples=16_000 * 300)
    return listened(ear, parts, turns) + ear.commit()


def shape_of(happened: list[Happening]) -> list[Any]:
    return [
        (type(event).__name__, event.sound.tobytes() if isinstance(event, Utterance) else event.at)
        for event in happened
    ]


@pytest.mark.parametrize("turns", [None, ServerVad()], ids=["committed", "detected"])
def test_turns_do_not_depend_on_how_sound_is_cut(turns: ServerVad | None) -> None:
    whole = shape_of(happenings([SPEECH], turns))
    assert len(whole) == (1 if turns is None else 7)  # two turns and the silence behind them

    @given(cuts_of(len(SPEECH)))
    @settings(max_examples=12)
    def same(cuts: list[int]) -> None:
        borders = [0, *cuts, len(SPEECH)]
        parts = [SPEECH[a:b] for a, b in pairwise(borders)]
        assert shape_of(happenings(parts, turns)) == whole

    same()


def test_what_the_model_is_sent_does_not_depend_on_how_sound_is_cut(
    talk: Talk, model: ModelServer
) -> None:
    talk.configure(turn_detection=None)
    for step in (4_801, len(SPEECH)):
        for start in range(0, len(SPEECH), step):
            talk.append(SPEECH[start : start + step])
        talk.send("input_audio_buffer.commit")
        talk.until(f"{TRANSCRIPTION}.completed")
    first, second = model.asked
    assert first.wav == second.wav
    assert first.n_samples > 16_000 * 9


def test_speech_longer_than_a_window_is_cut_at_a_pause_and_keeps_its_order(
    talk: Talk, model: ModelServer
) -> None:
    texts = iter(("один", "два", "три"))
    model.answer = lambda asked: Reply(body=heard(asked, next(texts)))
    hears_everything(talk)
    sound = np.frombuffer(loud(70), "<i2").copy()
    quiet = slice(round(25 * RATE), round(25.4 * RATE))
    sound[quiet] = 0
    talk.append(sound.tobytes())
    talk.send("input_audio_buffer.commit")
    events = [talk.event()]
    while sum(event["type"].endswith(".completed") for event in events) < 3:
        events.append(talk.event())
    started = [e["audio_start_ms"] for e in events if e["type"].endswith("speech_started")]
    stopped = [e["audio_end_ms"] for e in events if e["type"].endswith("speech_stopped")]
    assert started[1:] == stopped[:-1], "nothing is lost between two pieces"
    assert 25_000 <= stopped[0] <= 25_400
    assert stopped[-1] == 70_000
    assert [e["transcript"] for e in events if "transcript" in e] == ["один", "два", "три"]
    assert max(asked.n_samples for asked in model.asked) <= 30 * 16_000


def test_positions_go_on_over_clear(talk: Talk, model: ModelServer) -> None:
    hears_everything(talk)
    talk.append(loud(1))
    assert talk.until("input_audio_buffer.speech_started")["audio_start_ms"] == 0
    talk.send("input_audio_buffer.clear")
    talk.until("input_audio_buffer.cleared")
    talk.append(loud(1))
    assert talk.until("input_audio_buffer.speech_started")["audio_start_ms"] == 1_000
    talk.send("input_audio_buffer.commit")
    assert talk.until("input_audio_buffer.speech_stopped")["audio_end_ms"] == 2_000
    talk.until(f"{TRANSCRIPTION}.completed")
    [asked] = model.asked
    assert asked.n_samples == 16_000


def test_silence_has_no_text_and_never_reaches_the_model(talk: Talk, model: ModelServer) -> None:
    talk.configure(turn_detection=None)
    talk.append(pcm(pause(2)))
    talk.send("input_audio_buffer.commit")
    assert talk.until(f"{TRANSCRIPTION}.completed")["transcript"] == ""
    assert model.asked == []


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephone_sound_is_read(talk: Talk, model: ModelServer, kind: str) -> None:
    talk.configure(format={"type": kind}, turn_detection={"threshold": 0, "type": "server_vad"})
    rng = np.random.default_rng(0)
    talk.append(rng.integers(0, 256, 8_000, dtype=np.uint8).tobytes())
    talk.send("input_audio_buffer.commit")
    talk.until(f"{TRANSCRIPTION}.completed")
    [asked] = model.asked
    assert asked.n_samples == 16_000


def test_what_a_session_is_set_to_reaches_the_model(talk: Talk, model: ModelServer) -> None:
    updated = talk.configure(
        transcription={
            "model": "gpt-4o-transcribe",
            "language": "en-US",
            "prompt": "О погоде",
            "keywords": ["циклон", "иней"],
        },
        turn_detection={"type": "semantic_vad", "eagerness": "high"},
    )
    shown = updated["session"]["audio"]["input"]
    assert shown["turn_detection"]["type"] == "server_vad"
    assert shown["turn_detection"]["silence_duration_ms"] == 400
    hears_everything(talk)  # changes nothing else
    talk.append(loud(1))
    talk.send("input_audio_buffer.commit")
    talk.until(f"{TRANSCRIPTION}.completed")
    [asked] = model.asked
    assert asked.fields["language"] == ["en"]
    assert asked.fields["prompt"] == ["О погоде. циклон, иней"]
    assert asked.fields["model"] == ["model-a"]


def test_the_older_dialect_is_spoken_too(desk: Desk, model: ModelServer) -> None:
    protocols = ["realtime", "openai-insecure-api-key.none", "openai-beta.realtime-v1"]
    with desk.http.websocket_connect("/v1/realtime", subprotocols=protocols) as socket:
        assert socket.accepted_subprotocol == "realtime"
        talk = Talk(socket)
        assert talk.event()["type"] == "transcription_session.created"
        session = {
            "input_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1", "language": "ru"},
            "turn_detection": None,
        }
        talk.send("transcription_session.update", session=session)
        shown = talk.event()
        assert shown["type"] == "transcription_session.updated"
        assert shown["session"]["input_audio_format"] == "g711_ulaw"
        assert shown["session"]["turn_detection"] is None
        talk.append(b"\xff" * 8_000)
        talk.send("input_audio_buffer.commit")
        kinds = [talk.event()["type"] for _ in range(3)]
    assert kinds == [
        "input_audio_buffer.committed",
        "conversation.item.created",
        f"{TRANSCRIPTION}.completed",
    ]


def test_a_turn_that_fails_does_not_end_the_session(talk: Talk, model: ModelServer) -> None:
    hears_everything(talk)
    model.answer = lambda _: Reply(500, {"error": {"message": "broken"}})
    talk.append(loud(1))
    talk.send("input_audio_buffer.commit")
    failed = talk.until(f"{TRANSCRIPTION}.failed")
    assert failed["error"]["type"] == "server_error"
    assert failed["error"]["message"] == "The model service said: broken"
    model.answer = lambda asked: Reply(body=heard(asked, "снова"))
    talk.append(loud(1))
    talk.send("input_audio_buffer.commit")
    assert talk.until(f"{TRANSCRIPTION}.completed")["transcript"] == "снова"


BAD_MESSAGES = {
    "invalid_request": [
        "",
        "[]",
        "{",
        "{}",
        '{"type": 5}',
        '{"type": "input_audio_buffer.append"}',
        '{"type": "input_audio_buffer.append", "audio": "не base64"}',
    ],
    "unknown_event": ['{"type": "response.create"}'],
    "input_audio_buffer_commit_empty": ['{"type": "input_audio_buffer.commit"}'],
    "invalid_options": [
        '{"type": "session.update"}',
        '{"type": "session.update", "session": {"type": "realtime"}}',
        '{"type": "session.update", "session": {"input_audio_format": "opus"}}',
        '{"type": "session.update", "session": {"turn_detection": {"threshold": 2}}}',
        '{"type": "session.update", "session": {"turn_detection": {"threshold": NaN}}}',
        '{"type": "session.update", "session": {"input_audio_transcription": {"language": 5}}}',
        '{"type": "session.update", "session": {"input_audio_transcription":'
        ' {"language": "по-русски"}}}',
        '{"type": "session.update", "session": {"input_audio_transcription":'
        ' {"prompt": "\\ud800"}}}',
    ],
    "model_not_found": [
        '{"type": "session.update", "session": {"input_audio_transcription": {"model": "x"}}}'
    ],
}


@pytest.mark.parametrize(
    ("code", "message"), [(code, text) for code, rows in BAD_MESSAGES.items() for text in rows]
)
def test_a_bad_message_is_an_error_event_and_the_session_goes_on(
    talk: Talk, code: str, message: str
) -> None:
    talk.send_raw(message[:-1] + ', "event_id": "mine"}' if len(message) > 2 else message)
    event = talk.event()
    assert event["type"] == "error", event
    assert event["error"]["code"] == code
    assert event["error"]["type"] == "invalid_request_error"
    if len(message) > 2:
        assert event["error"]["event_id"] == "mine"
    talk.configure()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
names = st.sampled_from(
    [
        *("format", "transcription", "turn_detection", "type", "rate", "model", "language"),
        *("audio", "input", "threshold", "silence_duration_ms", "prefix_padding_ms", "prompt"),
    ]
)
near_json = st.recursive(
    json_values | st.sampled_from(["audio/pcm", "server_vad", "audio/pcmu", "ru", "transcription"]),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["session.update", "transcription_session.update"]
    + [f"input_audio_buffer.{what}" for what in ("append", "commit", "clear")]
)
sounds = st.binary(max_size=4_000).map(lambda body: base64.b64encode(body).decode())
messages = st.one_of(
    st.text(max_size=50),
    json_values.map(json.dumps),
    st.fixed_dictionaries(
        {"type": kinds}, optional={"audio": sounds | near_json, "session": near_json}
    ).map(json.dumps),
)


def test_no_message_ends_a_session_or_the_server(desk: Desk) -> None:
    @given(st.lists(messages, max_size=12))
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    def survives(rows: list[str]) -> None:
        with desk.http.websocket_connect("/v1/realtime") as socket:
            talk = Talk(socket)
            for row in rows:
                talk.send_raw(row.encode("utf-8", "replace").decode())
            talk.send("session.update", session={}, event_id="last")
            talk.send("no.such.event", event_id="last")
            while (event := talk.event()).get("error", {}).get("event_id") != "last":
                assert event.get("error", {}).get("code") != "internal", event
                assert event["type"].isprintable()

    survives()


def test_sound_beyond_the_bound_is_refused_and_the_rest_kept(
    tmp_path: Path, model: ModelServer
) -> None:
    with (
        Desk(tmp_path, model.url, realtime_max_buffer_s=30) as desk,
        desk.http.websocket_connect("/v1/realtime") as socket,
    ):
        talk = Talk(socket)
        talk.until("session.created")
        talk.append(pcm(pause(31)))
        assert talk.event()["error"]["code"] == "input_audio_buffer_full"
        talk.configure(turn_detection=None)
        talk.append(pcm(pause(29)))
        talk.append(pcm(pause(2)))
        assert talk.event()["error"]["code"] == "input_audio_buffer_full"
        talk.send("input_audio_buffer.commit")
        assert talk.until(f"{TRANSCRIPTION}.completed")["usage"]["seconds"] == 29


def test_a_client_ahead_of_the_model_waits_and_loses_nothing(
    tmp_path: Path, model: ModelServer
) -> None:
    """More turns than may wait are sent at once; every one of them gets its text."""
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=0.1)
    with (
        Desk(tmp_path, model.url, realtime_max_buffer_s=30) as desk,
        desk.http.websocket_connect("/v1/realtime") as socket,
    ):
        talk = Talk(socket)
        hears_everything(talk)
        for _ in range(9):
            talk.append(loud(9))
            talk.send("input_audio_buffer.commit")
        for _ in range(9):
            assert talk.until(f"{TRANSCRIPTION}.completed")["transcript"] == "раз два"
    assert model.most_at_once == 1


def test_places_are_bounded_and_given_back(tmp_path: Path, model: ModelServer) -> None:
    with Desk(tmp_path, model.url, realtime_max_connections=1) as desk:
        with desk.http.websocket_connect("/v1/realtime") as socket:
            Talk(socket).until("session.created")
            with (
                pytest.raises(WebSocketDenialResponse) as refused,
                desk.http.websocket_connect("/v1/realtime"),
            ):
                pass
            assert refused.value.status_code == 429
            assert int(refused.value.headers["retry-after"]) > 0
        with desk.http.websocket_connect("/v1/realtime") as socket:
            Talk(socket).until("session.created")


def test_a_browser_sends_its_key_as_a_subprotocol(tmp_path: Path, model: ModelServer) -> None:
    key = "a-key-of-sufficient-length-0123456789"
    with Desk(tmp_path, model.url, backend_api_keys=key) as desk:
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            desk.http.websocket_connect("/v1/realtime", subprotocols=["realtime"]),
        ):
            pass
        assert refused.value.status_code == 401
        ways: list[dict[str, Any]] = [
            {"subprotocols": ["realtime", f"openai-insecure-api-key.{key}"]},
            {"headers": {"X-API-Key": key}},
            {"headers": {"Authorization": f"Bearer {key}"}},
        ]
        for way in ways:
            with desk.http.websocket_connect("/v1/realtime", **way) as socket:
                Talk(socket).until("session.created")
                assert socket.accepted_subprotocol == (
                    "realtime" if "subprotocols" in way else None
                )


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("model=no-such-model", 404, "model_not_found"), ("language=%D1%8F", 422, "invalid_options")],
)
def test_an_address_that_asks_for_the_impossible_is_refused(
    desk: Desk, query: str, status: int, code: str
) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        desk.http.websocket_connect(f"/v1/realtime?{query}"),
    ):
        pass
    assert refused.value.status_code == status
    assert refused.value.json()["error"]["code"] == code


def test_a_client_that_leaves_ends_its_work(desk: Desk, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    with desk.http.websocket_connect("/v1/realtime") as socket:
        talk = Talk(socket)
        hears_everything(talk)
        talk.append(loud(1))
        talk.send("input_audio_buffer.commit")
        until(lambda: model.asked)
    until(lambda: model.gone_clients == 1)


def test_a_silent_client_is_hung_up_on(tmp_path: Path, model: ModelServer) -> None:
    with (
        Desk(tmp_path, model.url, realtime_idle_timeout_s=0.3) as desk,
        desk.http.websocket_connect("/v1/realtime") as socket,
    ):
        talk = Talk(socket)
        talk.until("session.created")
        assert talk.event()["error"]["code"] == "network_timeout"
        with pytest.raises(WebSocketDisconnect) as ended:
            talk.event()
    assert ended.value.code == 1001


def test_a_client_that_waits_for_its_text_is_not_idle(tmp_path: Path, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=5)
    with (
        Desk(tmp_path, model.url, realtime_idle_timeout_s=2.5) as desk,
        desk.http.websocket_connect("/v1/realtime") as socket,
    ):
        talk = Talk(socket)
        hears_everything(talk)
        talk.append(loud(1))
        talk.send("input_audio_buffer.commit")
        assert talk.until(f"{TRANSCRIPTION}.completed")["transcript"] == "раз два"


def test_the_ends_of_turns_follow_the_settings() -> None:
    sound = pcm(np.concatenate([speech("extension_ru"), pause(3)]))

    def ends(**vad: Any) -> tuple[int, int]:
        happened = listened(Ear(DETECTOR, max_samples=16_000 * 30), [sound], ServerVad(**vad))
        started = next(e.at for e in happened if isinstance(e, SpeechStarted))
        stopped = [e.at for e in happened if isinstance(e, SpeechStopped)]
        return started, stopped[-1]

    start, stop = ends(prefix_padding_ms=0, silence_duration_ms=500)
    earlier, later = ends(prefix_padding_ms=100, silence_duration_ms=1_500)
    assert start - earlier == min(1_600, start)
    assert abs(later - stop - 16_000) <= 512


def test_a_commit_at_the_very_end_of_a_turn_adds_nothing_to_it() -> None:
    """The resampler holds the last of the sound back until the commit; a turn may end in it."""
    sound = pcm(np.concatenate([speech("extension_ru"), pause(3)]))
    ear = Ear(DETECTOR, max_samples=16_000 * 30)
    [stop] = [e.at for e in listened(ear, [sound], ServerVad()) if isinstance(e, SpeechStopped)]
    until_there = sound[: stop * RATE // 16_000 * 2]
    kinds = [type(happening) for happening in happenings([until_there], ServerVad())]
    assert kinds == [SpeechStarted, SpeechStopped, Utterance]
