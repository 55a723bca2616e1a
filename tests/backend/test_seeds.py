"""The Telegram bot's service and the STT API, called as their own clients call them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.text import MAX_INSTRUCTION_CHARS

from ..clients.kit import assert_heard
from ..servers import SAMPLES, House
from .chat_server import Chat, ChatServer, Said
from .desk import Desk, until
from .model_server import ModelServer, Reply
from .sounds import silence, wav

RECORDING = SAMPLES / "extension_ru.flac"
SPEECH = RECORDING.read_bytes()
SILENCE = wav(silence(1))
ROUTES = ("/transcribe", "/transcribe_simple", "/transcribe-and-process")


@pytest.fixture
def talking_desk(tmp_path: Path, model: ModelServer, chat: ChatServer) -> Iterator[Desk]:
    """A backend with a language model."""
    with Desk(tmp_path, model.url, text_llm_url=f"{chat.url}/v1") as desk:
        yield desk


def ask(desk: Desk, route: str, file: bytes = SPEECH, **more: Any) -> Any:
    """POST a recording."""
    return desk.http.post(route, files={"file": ("голос.ogg", file, "audio/ogg")}, **more)


def test_the_bots_service(shared_house: House) -> None:
    root = requests.get(shared_house.url, timeout=60).json()
    assert {"service", "version", "model", "device", "status"} <= set(root)
    assert root["status"] == "ready"
    health = requests.get(f"{shared_house.url}/health", timeout=60).json()
    assert (health["status"], health["model_loaded"], health["device"]) == ("healthy", True, "cpu")
    with RECORDING.open("rb") as voice:
        answer = requests.post(
            f"{shared_house.url}/transcribe",
            files={"file": ("voice.ogg", voice, "audio/ogg")},
            timeout=120,
        )
    shape = answer.json()
    assert answer.status_code == 200
    assert (shape["success"], shape["language"]) == (True, "ru")
    assert shape["segments_count"] >= 1
    assert_heard(shape["text"], RECORDING)
    with RECORDING.open("rb") as voice:
        simple = requests.post(
            f"{shared_house.url}/transcribe_simple", files={"file": voice}, timeout=120
        )
    assert simple.json() == {"text": shape["text"]}


def test_the_stt_apis_client(shared_house: House) -> None:
    session = requests.Session()
    health = session.get(f"{shared_house.url}/health", timeout=60)
    assert health.status_code == 200
    assert health.json()["models_loaded"] is True
    with RECORDING.open("rb") as file:
        result = session.post(
            f"{shared_house.url}/transcribe",
            files={"file": file},
            params={"language": "ru"},
            timeout=120,
        ).json()
    assert result["success"] is True
    assert result["audio_path"] == RECORDING.name, "a name, and no path of the server's"
    assert_heard(result["text"], RECORDING)


def test_health_tells_a_model_that_loads_from_one_that_is_there(
    desk: Desk, model: ModelServer
) -> None:
    model.ready = Reply(503, {"status": "loading", "progress": 0.4})
    health = desk.http.get("/health")
    assert health.status_code == 200, "the process lives"
    assert health.json()["status"] == "loading"
    assert health.json()["model_loaded"] is False
    assert health.json()["loaded_models"] == []
    assert "40%" in health.json()["detail"]
    assert desk.http.get("/").json()["status"] == "loading"
    model.ready = Reply(body={"status": "ready"})
    until(lambda: desk.http.get("/health").json()["status"] == "healthy")
    assert desk.http.get("/health").json()["loaded_models"] == ["model-a"]


def test_health_waits_for_nobody(tmp_path: Path, model: ModelServer) -> None:
    model.ready = Reply(delay_s=60.0, body={})
    with Desk(tmp_path, model.url) as desk:
        desk.http.get("/health")
        took = [desk.http.get("/health").elapsed.total_seconds() for _ in range(20)]
    assert max(took) < 15


@pytest.mark.parametrize("place", ["params", "data"])
def test_the_language_counts_in_the_query_and_in_the_form(
    desk: Desk, model: ModelServer, place: str
) -> None:
    shape = ask(desk, "/transcribe", **{place: {"language": "English"}}).json()
    assert shape["language"] == "en"
    assert model.asked[-1].fields["language"] == ["en"]
    ask(desk, "/transcribe")
    assert model.asked[-1].fields["language"] == ["ru"]


@pytest.mark.parametrize("place", ["params", "data"])
def test_a_language_model_gets_the_instruction_and_the_text(
    talking_desk: Desk, chat: ChatServer, place: str
) -> None:
    chat.answer = lambda _: Said("Сказано: раз, два.")
    fields = {"instruction": "Перечисли числа", "language": "ru"}
    answer = ask(talking_desk, "/transcribe-and-process", **{place: fields})
    assert answer.json() == {
        "success": True,
        "stt_result": {
            "success": True,
            "text": "раз два",
            "language": "ru",
            "segments_count": 1,
            "audio_path": "голос.ogg",
        },
        "vllm_result": {
            "success": True,
            "original_text": "раз два",
            "processed_text": "Сказано: раз, два.",
            "instruction": "Перечисли числа",
        },
    }
    [asked] = chat.asked
    assert "Перечисли числа" in asked.user
    assert "раз два" in asked.text


def test_without_an_instruction_there_is_one(talking_desk: Desk) -> None:
    shape = ask(talking_desk, "/transcribe-and-process").json()
    assert shape["vllm_result"]["success"] is True
    assert shape["vllm_result"]["instruction"]


_FAILURES: dict[str, Callable[[Chat], Said]] = {
    "an error": lambda _: Said(status=500, body=b"{}"),
    "no JSON": lambda _: Said(status=200, body=b"<html>"),
    "nothing": lambda _: Said(""),
}


@pytest.mark.parametrize("failure", _FAILURES)
def test_a_language_model_that_fails_costs_no_transcript(
    talking_desk: Desk, chat: ChatServer, failure: str
) -> None:
    chat.answer = _FAILURES[failure]
    answer = ask(talking_desk, "/transcribe-and-process")
    assert answer.status_code == 200
    shape = answer.json()
    assert shape["success"] is True
    assert shape["stt_result"]["text"] == "раз два"
    assert shape["vllm_result"]["success"] is False
    assert shape["vllm_result"]["original_text"] == "раз два"
    assert shape["vllm_result"]["error"]


def test_without_a_language_model_the_reason_is_said(steady_desk: Desk) -> None:
    result = ask(steady_desk, "/transcribe-and-process").json()["vllm_result"]
    assert result["success"] is False
    assert "TEXT_LLM_URL" in result["error"]


def test_silence_is_not_sent_to_a_language_model(talking_desk: Desk, chat: ChatServer) -> None:
    shape = ask(talking_desk, "/transcribe-and-process", SILENCE).json()
    assert shape["stt_result"]["text"] == ""
    assert shape["vllm_result"]["success"] is False
    assert chat.asked == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("file", [b"", b"no sound at all"])
def test_a_file_without_sound_is_a_400(steady_desk: Desk, route: str, file: bytes) -> None:
    answer = ask(steady_desk, route, file)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("route", ROUTES)
def test_without_a_model_it_is_a_503(desk: Desk, model: ModelServer, route: str) -> None:
    model.ready = Reply(503, {"status": "loading", "progress": 0.1})
    answer = ask(desk, route)
    assert answer.status_code == 503
    assert answer.json()["detail"]


def test_an_instruction_has_its_bound(steady_desk: Desk) -> None:
    fields = {"instruction": "я" * (MAX_INSTRUCTION_CHARS + 1)}
    answer = ask(steady_desk, "/transcribe-and-process", SILENCE, data=fields)
    assert answer.status_code == 400
    assert "instruction" in answer.json()["detail"]


@settings(max_examples=30)
@given(
    route=st.sampled_from(ROUTES),
    fields=st.dictionaries(
        st.sampled_from(["language", "instruction", "model"]), st.text(max_size=30), max_size=3
    ),
)
def test_no_parameter_is_a_fault_of_ours(
    steady_desk: Desk, route: str, fields: dict[str, str]
) -> None:
    answer = ask(steady_desk, route, SILENCE, params=fields)
    assert answer.status_code in (200, 400), answer.text
