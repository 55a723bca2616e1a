"""`/detect-language`: what is heard, how sure that is, and what it costs."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stenograf.contract.pcm import to_s16

from ..servers import SAMPLES
from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard
from .sounds import noise, silence, wav

URL = "/detect-language"
SPEECH = (SAMPLES / "extension_ru.flac").read_bytes()


def spoken(times: int, pause_s: float = 20.0, lead_s: float = 0.0) -> bytes:
    """A sample of speech several times; the pauses are too long for one window."""
    waveform, rate = soundfile.read(io.BytesIO(SPEECH))
    pause = np.zeros(int(pause_s * rate))
    return wav(np.concatenate([np.zeros(int(lead_s * rate)), *[waveform, pause] * times]))


def says(*pairs: tuple[str, float | None]) -> "Answers":
    """Answers with a language and its probability, one after the other."""
    return Answers(list(pairs))


class Answers:
    """What the model service hears, window by window."""

    def __init__(self, pairs: list[tuple[str, float | None]]) -> None:
        self._pairs = pairs

    def __call__(self, asked: Asked) -> Reply:
        name, probability = self._pairs.pop(0)
        body = heard(asked) | {"language": name}
        return Reply(
            body=body | ({} if probability is None else {"language_probability": probability})
        )


def ask(desk: Desk, file: bytes, **params: str) -> dict[str, object]:
    answer = desk.http.post(URL, files={"audio_file": ("a.wav", file)}, params=params)
    assert answer.status_code == 200, answer.text
    assert list((desk.house.settings.data_dir / "uploads").iterdir()) == []
    assert list((desk.house.settings.data_dir / "language").iterdir()) == []
    shape: dict[str, object] = answer.json()
    return shape


def test_one_window_is_enough_where_it_is_sure(desk: Desk, model: ModelServer) -> None:
    model.answer = says(("russian", 0.9))
    assert ask(desk, spoken(3)) == {
        "detected_language": "russian",
        "language_code": "ru",
        "confidence": 0.9,
    }
    [asked] = model.asked
    assert "language" not in asked.fields
    assert asked.fields["timestamp_granularities[]"] == ["segment"]
    assert desk.http.get("/v1/jobs").json()["data"] == [], "it is not a job"


def test_doubt_is_resolved_by_further_windows(desk: Desk, model: ModelServer) -> None:
    model.answer = says(("ukrainian", 0.45), ("russian", 0.4), ("russian", 0.41))
    shape = ask(desk, spoken(5))
    assert (shape["language_code"], shape["confidence"]) == ("ru", 0.27)
    assert len(model.asked) == 3


def test_the_first_speech_may_come_late(desk: Desk, model: ModelServer) -> None:
    model.answer = says(("haitian creole", 0.8))
    shape = ask(desk, spoken(1, lead_s=130))
    assert (shape["detected_language"], shape["language_code"]) == ("haitian creole", "ht")


def test_a_service_that_gives_no_probability_is_not_spoken_for(
    desk: Desk, model: ModelServer
) -> None:
    model.answer = says(("german", None))
    assert ask(desk, spoken(2)) == {
        "detected_language": "german",
        "language_code": "de",
        "confidence": None,
    }


@pytest.mark.parametrize("sound", [silence(3), noise(3), silence(150)])
def test_without_speech_nothing_is_sure_and_no_model_is_asked(
    desk: Desk, model: ModelServer, sound: np.ndarray
) -> None:
    assert ask(desk, wav(sound))["confidence"] == 0.0
    assert model.asked == []


def test_raw_sound_is_heard_like_a_file(desk: Desk, model: ModelServer) -> None:
    waveform, _ = soundfile.read(io.BytesIO(SPEECH), dtype="float32")
    model.answer = says(("russian", 0.9), ("russian", 0.9))
    ask(desk, SPEECH)
    ask(desk, to_s16(waveform), encode="false")
    assert model.asked[0].wav == model.asked[1].wav


@pytest.mark.parametrize("file", [b"", b"no recording"])
def test_what_cannot_be_heard_is_a_bad_request(desk: Desk, file: bytes) -> None:
    answer = desk.http.post(URL, files={"audio_file": ("a", file)})
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert list((desk.house.settings.data_dir / "uploads").iterdir()) == []


def test_without_a_model_it_is_a_503(tmp_path: Path) -> None:
    with Desk(tmp_path, "http://127.0.0.1:1") as desk:
        answer = desk.http.post(URL, files={"audio_file": ("a.wav", SPEECH)})
        assert answer.status_code == 503


def test_too_many_at_once_are_told_to_come_back(desk: Desk, model: ModelServer) -> None:
    desk.house.languages.max_waiting = 1
    go_on = threading.Event()

    def waits(asked: Asked) -> Reply:
        go_on.wait(60)
        return Reply(body=heard(asked))

    model.answer = waits
    first = threading.Thread(target=ask, args=(desk, SPEECH))
    first.start()
    until(lambda: model.asked)
    answer = desk.http.post(URL, files={"audio_file": ("a.wav", SPEECH)})
    go_on.set()
    first.join()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_shutdown_does_not_wait_for_the_model(tmp_path: Path, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=30)
    statuses: list[int] = []
    with Desk(tmp_path, model.url) as desk:

        def caller() -> None:
            answer = desk.http.post(URL, files={"audio_file": ("a.wav", SPEECH)})
            statuses.append(answer.status_code)

        thread = threading.Thread(target=caller)
        thread.start()
        until(lambda: model.asked)
        desk.house.drain()
        thread.join(20)
        assert desk.http.post(URL, files={"audio_file": ("a.wav", SPEECH)}).status_code == 503
    assert statuses == [503]
    until(lambda: model.gone_clients == 1)
