"""whisper.cpp's `/inference` as its README and its clients call it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from ..clients.kit import assert_heard
from ..servers import SAMPLES, House
from .desk import Desk
from .model_server import ModelServer, Reply
from .sounds import silence, wav

URL = "/inference"
RECORDING = SAMPLES / "extension_ru.flac"
SPEECH = RECORDING.read_bytes()
SILENCE = wav(silence(1))


def ask(desk: Desk, fields: dict[str, str] | None = None, file: bytes = SPEECH) -> Any:
    """POST /inference with everything in the form."""
    return desk.http.post(URL, data=fields or {}, files={"file": ("a.wav", file)})


def test_the_curl_of_the_readme(shared_house: House) -> None:
    command = [
        *("curl", "-sS", f"{shared_house.url}{URL}", "-H", "Content-Type: multipart/form-data"),
        *("-F", f"file=@{RECORDING}", "-F", "temperature=0.0", "-F", "temperature_inc=0.2"),
        *("-F", "response_format=json"),
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    text = json.loads(done.stdout)["text"]
    assert text.startswith(" ")
    assert text.endswith("\n")
    assert_heard(text, RECORDING)
    with RECORDING.open("rb") as file:
        answer = requests.post(
            f"{shared_house.url}{URL}",
            files={"file": file},
            data={"response_format": "verbose_json", "detect_language": "true"},
            timeout=120,
        )
    shape = answer.json()
    words = [word for segment in shape["segments"] for word in segment["words"]]
    assert_heard("".join(word["word"] for word in words), RECORDING)
    assert all(0 <= word["start"] <= word["end"] <= shape["duration"] for word in words)
    assert shape["detected_language"] == "russian"
    assert shape["language_probabilities"] == {"ru": shape["detected_language_probability"]}
    assert 0.5 < shape["detected_language_probability"] <= 1


def test_verbose_json_field_by_field(steady_desk: Desk) -> None:
    shape = ask(steady_desk, {"response_format": "verbose_json"}).json()
    [segment] = shape["segments"]
    assert {"task", "language", "duration", "text", "segments"} <= set(shape)
    assert (shape["task"], shape["language"], shape["duration"]) == (
        "transcribe",
        "russian",
        5.0,
    )
    assert set(segment) == {
        *("id", "text", "start", "end", "tokens", "words"),
        *("temperature", "avg_logprob", "no_speech_prob"),
    }
    assert [set(word) for word in segment["words"]] == [
        {"word", "start", "end", "t_dtw", "probability"}
    ] * 2


def test_without_timestamps_there_is_no_time(steady_desk: Desk) -> None:
    shape = ask(steady_desk, {"response_format": "verbose_json", "no_timestamps": "true"}).json()
    assert {"start", "end", "words"}.isdisjoint(shape["segments"][0])


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "application/x-subrip; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
    ],
)
def test_formats(steady_desk: Desk, format: str, media_type: str) -> None:
    answer = ask(steady_desk, {"response_format": format})
    assert answer.headers["content-type"] == media_type
    texts = {
        "json": lambda body: json.loads(body)["text"],
        "verbose_json": lambda body: json.loads(body)["text"],
        "text": str,
        "srt": lambda body: " ".join(cue.content for cue in srt.parse(body)),
        "vtt": lambda body: " ".join(cue.text for cue in webvtt.from_string(body)),
    }
    assert texts[format](answer.text).strip() == "раз два"


def test_fields_mean_what_they_mean_there(desk: Desk, model: ModelServer) -> None:
    fields = {
        "language": "en",
        "translate": "true",
        "prompt": "Иванов",
        "temperature": "0.4",
        "beam_size": "5",
        "no_speech_thold": "0.7",
        "logprob_thold": "-0.5",
        "entropy_thold": "2.40",
        "best_of": "2",
        "max_len": "0",
        "offset_t": "0",
        "vad": "true",
        "vad_threshold": "0.4",
        "vad_min_silence_duration_ms": "10",
        "vad_max_speech_duration_s": "12",
        "diarize": "false",
    }
    assert ask(desk, fields).status_code == 200
    sent = model.asked[-1].fields
    assert {name: sent[name] for name in ("language", "task", "prompt", "temperature")} == {
        "language": ["en"],
        "task": ["translate"],
        "prompt": ["Иванов"],
        "temperature": ["0.4"],
    }
    assert (sent["beam_size"], sent["no_speech_threshold"]) == (["5"], ["0.7"])
    assert sent["logprob_threshold"] == ["-0.5"]
    cut = desk.http.get("/v1/jobs").json()["data"][0]["options"]["cut"]
    assert (cut["vad_threshold"], cut["min_silence_ms"], cut["chunk_size_s"]) == (0.4, 50, 12)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"offset_t": "0", "duration": "0"}, " раз два\n"),
        ({"duration": "2500"}, " раз\n"),
        ({"offset_t": "2500"}, " два\n"),
        ({"offset_t": "-5", "duration": "1e308"}, " раз два\n"),
        ({"offset_t": "9000"}, ""),
    ],
)
def test_a_part_of_the_file(steady_desk: Desk, fields: dict[str, str], text: str) -> None:
    assert ask(steady_desk, fields).json()["text"] == text


@pytest.mark.parametrize(
    ("given_fields", "language"),
    [({}, ["ru"]), ({"language": "auto"}, None), ({"detect_language": "1"}, None)],
)
def test_the_language_is_russian_unless_it_is_asked_for(
    desk: Desk, model: ModelServer, given_fields: dict[str, str], language: list[str] | None
) -> None:
    assert ask(desk, given_fields).status_code == 200
    assert model.asked[-1].fields.get("language") == language


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "1.5"}, "temperature"),
        ({"offset_t": "soon"}, "offset_t"),
        ({"duration": "nan"}, "duration"),
        ({"translate": "perhaps"}, "translate"),
        ({"beam_size": "inf"}, "beam_size"),
        ({"vad_threshold": "2"}, "vad_threshold"),
        ({"language": "клингонский"}, "language"),
    ],
)
def test_an_error_is_a_400_with_a_sentence_in_json(
    steady_desk: Desk, fields: dict[str, str], says: str
) -> None:
    answer = ask(steady_desk, fields)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert says in answer.json()["error"]


def test_no_file_and_no_recording_are_400s(steady_desk: Desk) -> None:
    without = steady_desk.http.post(URL, files={"other": ("a.wav", SILENCE)})
    assert (without.status_code, "file" in without.json()["error"]) == (400, True)
    for file in (b"", b"not sound"):
        answer = ask(steady_desk, file=file)
        assert answer.status_code == 400
        assert isinstance(answer.json()["error"], str)


def test_while_the_model_loads_it_is_a_503(desk: Desk, model: ModelServer) -> None:
    model.ready = Reply(503, {"status": "loading", "progress": 0.2})
    answer = ask(desk)
    assert answer.status_code == 503
    assert "loading" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) > 0
    assert desk.http.get("/v1/jobs").json()["data"] == []


def test_a_failure_that_comes_late_is_in_the_body(tmp_path: Path, model: ModelServer) -> None:
    no = {"error": {"code": "invalid_request", "message": "no such thing"}}
    model.answer = lambda _: Reply(400, no, delay_s=1.5)
    with Desk(tmp_path, model.url, answer_start_s=0.1) as desk:
        answer = ask(desk)
    assert answer.status_code == 200
    assert answer.text.startswith(" ")
    assert answer.json()["error"] == "no such thing"


def test_a_model_is_not_loaded_by_a_request(steady_desk: Desk) -> None:
    answer = steady_desk.http.post("/load", files={"model": (None, "models/ggml-base.en.bin")})
    assert answer.status_code == 400
    assert "LOCAL_LLM_MODEL" in answer.json()["error"]


_NAMES = st.sampled_from(
    [
        *("offset_t", "duration", "beam_size", "temperature", "no_speech_thold", "logprob_thold"),
        *("vad", "vad_threshold", "vad_speech_pad_ms", "vad_max_speech_duration_s", "language"),
        *("translate", "detect_language", "prompt", "response_format", "no_timestamps"),
    ]
)
_VALUES = st.sampled_from(["", "0", "-1", "1e308", "-inf", "true", "ru", "vtt", "text"]) | st.text(
    max_size=20
)


@settings(max_examples=40)
@given(fields=st.dictionaries(_NAMES, _VALUES, max_size=5))
def test_no_field_is_a_fault_of_ours(steady_desk: Desk, fields: dict[str, str]) -> None:
    answer = ask(steady_desk, fields, SILENCE)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]
