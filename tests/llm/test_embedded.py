"""The embedded model over HTTP: real speech in, right text out."""

import re

import jiwer
import pytest
import requests
import soundfile
from tests.servers import SAMPLES, Process

from stenograf.contract.pcm import SAMPLE_RATE, Waveform, wav_bytes
from stenograf.llm.sound import cut

WORST_WER = 0.35  # the demo model in windows of 30 s, with room


def words_of(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower().replace("ё", "е")))


@pytest.fixture(scope="module")
def monologue() -> tuple[Waveform, str]:
    waveform, rate = soundfile.read(SAMPLES / "monologue_ru.flac", dtype="float32")
    assert rate == SAMPLE_RATE
    return waveform, (SAMPLES / "monologue_ru.txt").read_text()


def test_it_says_that_it_is_a_demo(embedded_llm: Process) -> None:
    (model,) = requests.get(f"{embedded_llm.url}/v1/models", timeout=60).json()["data"]
    assert (model["id"], model["embedded"], model["loaded"]) == ("whisper-demo-ru", True, True)
    assert "knows numbers, dates and short phrases only" in embedded_llm.log.read_text()


def test_a_recording_becomes_its_text_with_times(
    embedded_llm: Process, monologue: tuple[Waveform, str]
) -> None:
    waveform, reference = monologue
    answer = requests.post(
        f"{embedded_llm.url}/v1/audio/transcriptions",
        files={"file": ("monologue.wav", wav_bytes(waveform))},
        data={
            "language": "ru",
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word", "segment"],
        },
        timeout=120,
    ).json()
    assert jiwer.wer(words_of(reference), words_of(answer["text"])) <= WORST_WER
    words = answer["words"]
    assert [word["word"] for word in words] == answer["text"].split()
    edges = [edge for word in words for edge in (word["start"], word["end"])]
    assert edges == sorted(edges)
    assert edges[-1] <= waveform.shape[0] / SAMPLE_RATE
    assert all(-1 < segment["avg_logprob"] <= 0 for segment in answer["segments"])


def test_the_seeds_route_gives_the_same_text(
    embedded_llm: Process, monologue: tuple[Waveform, str]
) -> None:
    waveform, _ = monologue
    _, window = cut(waveform, 12 * SAMPLE_RATE)[0]
    seed = requests.post(
        f"{embedded_llm.url}/inference/", json={"chunk": window.tolist()}, timeout=60
    ).json()
    ours = requests.post(
        f"{embedded_llm.url}/v1/audio/transcriptions",
        files={"file": ("window.wav", wav_bytes(window))},
        data={"language": "ru"},
        timeout=60,
    ).json()
    assert seed["response"]
    assert seed["response"] == ours["text"]
