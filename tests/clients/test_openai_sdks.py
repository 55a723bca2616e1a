"""OpenAI's own SDKs, and those built on their wire, transcribe a real recording."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import soundfile
import srt
import webvtt

from ..servers import Process
from .kit import LONG_RECORDING, RECORDING, assert_heard, run


@pytest.fixture(scope="module")
def client(backend: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{backend.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_python_json(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=RECORDING)
    assert_heard(answer.text, RECORDING)
    assert answer.usage is not None
    assert answer.usage.type == "duration"


def test_python_long_recording_with_every_kind_of_time(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=LONG_RECORDING,
        language="ru",
        temperature=0,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert_heard(answer.text, LONG_RECORDING, most=0.7)
    assert answer.language == "russian"
    assert answer.duration == pytest.approx(71, abs=1)
    assert answer.segments is not None
    assert answer.words is not None
    assert " ".join(s.text.strip() for s in answer.segments) == answer.text
    assert " ".join(w.word for w in answer.words) == answer.text
    starts = [word.start for word in answer.words]
    assert starts == sorted(starts)
    assert answer.words[-1].end <= answer.duration


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
def test_python_files(client: openai.OpenAI, format: str) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=("заказ.flac", RECORDING.read_bytes()),
        response_format=format,  # type: ignore[arg-type]
    )
    assert_heard(_text_of(str(answer), format), RECORDING)


def test_python_stream_of_a_long_recording(client: openai.OpenAI) -> None:
    deltas = []
    stream = client.audio.transcriptions.create(
        model="whisper-1", file=LONG_RECORDING, language="ru", stream=True
    )
    for event in stream:
        if event.type == "transcript.text.delta":
            deltas.append(event.delta)
    assert event.type == "transcript.text.done"
    assert len(deltas) > 3
    assert "".join(deltas) == event.text
    assert_heard(event.text, LONG_RECORDING, most=0.7)


def test_python_async(backend: Process) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{backend.url}/v1", api_key="none") as client:
            answer = await client.audio.transcriptions.create(
                model="gpt-4o-mini-transcribe", file=RECORDING, chunking_strategy="auto"
            )
        return answer.text

    assert_heard(asyncio.run(ask()), RECORDING)


@pytest.mark.node
@pytest.mark.parametrize("package", ["openai6", "openai7"])
def test_node(backend: Process, node: Path, package: str) -> None:
    answers = json.loads(run(["node", "openai_sdk.mjs", package, backend.url, RECORDING], cwd=node))
    for format in ("text", "srt", "vtt"):
        assert_heard(_text_of(answers[format], format), RECORDING)
    for format in ("json", "verbose_json", "blob"):
        assert_heard(answers[format]["text"], RECORDING)
    verbose = answers["verbose_json"]
    assert verbose["language"] == "russian"
    assert " ".join(word["word"] for word in verbose["words"]) == verbose["text"]
    assert len(verbose["segments"]) >= 1
    (speaker,) = {segment["speaker"] for segment in answers["diarized_json"]["segments"]}
    assert speaker == "A"
    assert_heard(answers["diarized_json"]["text"], RECORDING)
    written = bytes(b for row in answers["logprobs"]["logprobs"] for b in row["bytes"])
    assert written.decode().split() == answers["logprobs"]["text"].split()
    *deltas, done = answers["events"]
    assert "".join(event["delta"] for event in deltas) == done["text"]
    assert_heard(done["text"], RECORDING)
    assert answers["models"]
    assert answers["error"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found"}


@pytest.mark.node
def test_vercel_ai(backend: Process, node: Path) -> None:
    whisper, gpt = json.loads(run(["node", "vercel_ai.mjs", backend.url, RECORDING], cwd=node))
    assert_heard(whisper["text"], RECORDING)
    assert_heard(gpt["text"], RECORDING)
    assert whisper["language"] == "ru"  # it knows languages by OpenAI's names only
    assert whisper["durationInSeconds"] == pytest.approx(
        soundfile.info(RECORDING).duration, abs=0.1
    )
    assert len(whisper["segments"]) > 3
    assert whisper["warnings"] == gpt["warnings"] == []


def test_litellm(backend: Process, heavy_python: Path) -> None:
    script = Path(__file__).with_name("litellm_client.py")
    answers = json.loads(run([heavy_python, script, backend.url, RECORDING], cwd=script.parent))
    assert_heard(answers["json"], RECORDING)
    assert_heard(answers["language"], RECORDING)
    assert_heard(answers["verbose_json"]["text"], RECORDING)
    assert len(answers["verbose_json"]["words"]) > 3


def test_langchain(backend: Process, heavy_python: Path) -> None:
    script = Path(__file__).with_name("langchain_client.py")
    output = run([heavy_python, script, backend.url, RECORDING], cwd=script.parent)
    (document,) = json.loads(output.splitlines()[-1])
    assert_heard(document, RECORDING)


def _text_of(body: str, format: str) -> str:
    if format == "srt":
        return " ".join(cue.content for cue in srt.parse(body))
    if format == "vtt":
        return " ".join(cue.text for cue in webvtt.from_string(body).captions)
    return body
