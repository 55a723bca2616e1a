"""The Wyoming protocol: the reference implementation's client, and clients that go wrong."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from stenograf.backend.app import create_app
from stenograf.exposure import Exposed
from stenograf.settings import BackendSettings

from ..servers import Process
from .kit import RECORDING, assert_heard

FORMAT = {"rate": 16_000, "width": 2, "channels": 1}


def spoken() -> tuple[bytes, int]:
    sound, rate = soundfile.read(RECORDING, dtype="int16")
    return sound.astype("<i2").tobytes(), rate


async def say(wyoming_port: int, *events: Event) -> Event:
    """The first answer after all of `events`."""
    async with asyncio.timeout(60), AsyncTcpClient("127.0.0.1", wyoming_port) as client:
        for event in events:
            await client.write_event(event)
        answer = await client.read_event()
    assert answer is not None
    return answer


def sound_events(sound: bytes, rate: int, **asked: Any) -> list[Event]:
    step = 2048
    chunks = [
        AudioChunk(rate=rate, width=2, channels=1, audio=sound[at : at + step]).event()
        for at in range(0, len(sound), step)
    ]
    start = AudioStart(rate=rate, width=2, channels=1).event()
    return [Transcribe(**asked).event(), start, *chunks, AudioStop().event()]


@pytest.mark.parametrize("asked", [{}, {"language": "ru"}, {"language": "ru-RU"}], ids=str)
def test_a_spoken_command(backend: Process, wyoming_port: int, asked: dict[str, str]) -> None:
    answer = asyncio.run(say(wyoming_port, *sound_events(*spoken(), **asked)))
    assert Transcript.is_type(answer.type), answer
    assert_heard(Transcript.from_event(answer).text, RECORDING)
    assert Transcript.from_event(answer).language == "ru"
    jobs = requests.get(f"{backend.url}/v1/jobs", timeout=60).json()["data"]
    kept = [job for job in jobs if job["filename"] == "wyoming.wav"]
    assert kept == [], "what is said to a voice assistant is not kept"


def test_several_commands_over_one_connection(wyoming_port: int) -> None:
    async def run() -> list[str]:
        texts = []
        async with asyncio.timeout(60), AsyncTcpClient("127.0.0.1", wyoming_port) as client:
            for _ in range(2):
                for event in sound_events(*spoken()):
                    await client.write_event(event)
                answer = await client.read_event()
                assert answer is not None
                texts.append(Transcript.from_event(answer).text)
        return texts

    first, second = asyncio.run(run())
    assert first == second != ""


def test_it_says_what_it_is(wyoming_port: int) -> None:
    answer = asyncio.run(say(wyoming_port, Describe().event()))
    (program,) = Info.from_event(answer).asr
    assert program.name == "stenograf"
    assert "ru" in program.models[0].languages
    assert Pong.from_event(asyncio.run(say(wyoming_port, Ping("x").event()))).text == "x"


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([AudioStop().event()], "invalid_request"),
        ([Transcribe(language="klingonisch").event()], "invalid_options"),
        ([AudioStart(rate=1, width=2, channels=1).event()], "invalid_options"),
        (
            [
                AudioStart(rate=16_000, width=2, channels=1).event(),
                AudioChunk(rate=8_000, width=2, channels=1, audio=b"ab").event(),
            ],
            "invalid_request",
        ),
    ],
)
def test_a_mistake_is_told_and_the_connection_stays(
    wyoming_port: int, events: list[Event], code: str
) -> None:
    async def run() -> tuple[Event | None, Event | None]:
        async with asyncio.timeout(30), AsyncTcpClient("127.0.0.1", wyoming_port) as client:
            for event in events:
                await client.write_event(event)
            error = await client.read_event()
            await client.write_event(Ping("still there").event())
            return error, await client.read_event()

    error, pong = asyncio.run(run())
    assert error is not None
    assert (error.type, error.data["code"]) == ("error", code)
    assert pong is not None
    assert pong.type == "pong"


def test_sound_is_bounded(wyoming_port: int) -> None:
    chunk = AudioChunk(**FORMAT, audio=bytes(3 * 1024**2)).event()
    error = asyncio.run(say(wyoming_port, *[chunk] * 6))
    assert error.data["code"] == "too_large"


lines = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(
        st.sampled_from(["type", "data", "data_length", "payload_length", "version"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.none()),
    ).map(lambda event: json.dumps(event).encode() + b"\n"),
)


@settings(max_examples=60)
@given(sent=st.lists(lines, max_size=4))
def test_nothing_that_is_sent_ends_the_service(
    backend: Process, wyoming_port: int, sent: list[bytes]
) -> None:
    _survives(backend, wyoming_port, sent)


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 70_000 + b"\n",
        b"[" * 20_000 + b"\n",
        b'{"type":"ping","payload_length":4194305}\n',
        b'{"type":"audio-chunk","data":[]}\n',
        b'{"type":"ping","data_length":2}\n[]',
    ],
    ids=["long", "deep", "large", "list", "no object"],
)
def test_what_is_no_event_is_told_and_ends_the_connection(
    backend: Process, wyoming_port: int, line: bytes
) -> None:
    (told,) = _survives(backend, wyoming_port, [line])
    assert told["type"] == "error"


def _survives(backend: Process, port: int, sent: list[bytes]) -> list[dict[str, Any]]:
    """The heads of the answers to bytes that may be anything."""

    async def send() -> list[dict[str, Any]]:
        heads = []
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.writelines(sent)
        writer.write_eof()
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                while line := await reader.readline():
                    heads.append(json.loads(line))
                    await reader.readexactly(heads[-1]["data_length"])
        writer.close()
        return heads

    heads = asyncio.run(send())
    assert {head["type"] for head in heads} <= {"error", "pong", "info"}
    assert "conversation failed" not in backend.log.read_text()
    assert requests.get(f"{backend.url}/health", timeout=60).status_code == 200
    return heads


def test_beyond_the_loopback_it_needs_to_be_meant(tmp_path: Path) -> None:

    exposed = BackendSettings(
        data_dir=tmp_path, wyoming_port=10300, wyoming_host="0.0.0.0", _env_file=None
    )
    with pytest.raises(Exposed, match="Wyoming"):
        create_app(exposed)
