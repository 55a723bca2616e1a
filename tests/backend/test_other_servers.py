"""Another server in our model service's place, by LLM_ENDPOINT alone: what comes of it."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from stenograf.contract.pcm import wav_bytes

from .desk import Desk, until
from .model_server import Reply
from .other_server import OPENAI_FIELDS, RATE, WORDS, OtherServer, recording, refused

SAID = (*WORDS, *WORDS[::-1], "три", "один", "два")  # 35 s: two windows
RECORDING = wav_bytes(recording(*SAID))
SHORT = wav_bytes(recording("два", "три"))
WHOLE = {"cut": {"vad": False}}
URL = "/v1/audio/transcriptions"
_SERIAL = count(1)

Open = Callable[..., tuple[Desk, OtherServer]]


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Open]:
    """A backend before a server of the given manners."""
    with ExitStack() as stack:

        def start(
            settings: dict[str, Any] | None = None, root: str = "", **manners: Any
        ) -> tuple[Desk, OtherServer]:
            server = stack.enter_context(OtherServer(**manners))
            folder = tmp_path / server.url.rpartition(":")[2]
            desk = Desk(folder, server.url + root, answer_start_s=60, **(settings or {}))
            return stack.enter_context(desk), server

        yield start


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, OtherServer]]:
    """One backend and server for what leaves no trace but in the job."""
    with OtherServer() as server, Desk(tmp_path_factory.mktemp("steady"), server.url) as desk:
        yield desk, server


def one_more(*words: str) -> bytes:
    """A recording that nobody has heard yet."""
    return wav_bytes(recording(*words, pause_s=0.7 + 0.01 * next(_SERIAL)))


def ask(desk: Desk, sound: bytes = SHORT, **fields: Any) -> Any:
    files = {"file": ("звук.wav", sound, "audio/wav")}
    form = {"vad_filter": "false", "language": "ru", "response_format": "verbose_json"} | fields
    return desk.http.post(URL, files=files, data=form)


def run(desk: Desk, options: Any = WHOLE) -> dict[str, Any]:
    """The job of a recording, at its end."""
    return desk.wait(desk.submit(one_more("два", "три"), options)["id"])


def _waits(desk: Desk, hint: str) -> bool:
    """Whether a new job stays in the queue and tells its owner why."""
    job_id = desk.submit(SHORT, WHOLE)["id"]
    until(lambda: desk.job(job_id)["status"] == "failed" or hint in str(desk.job(job_id)["error"]))
    return desk.job(job_id)["status"] != "failed"


def test_text_and_times_without_words(open_desk: Open) -> None:
    desk, server = open_desk()
    fields = {"timestamp_granularities[]": ["word", "segment"]}
    answer = ask(desk, RECORDING, **fields).json()
    assert answer["text"].split() == list(SAID)
    assert len(server.asked) == 2
    starts = [segment["start"] for segment in answer["segments"]]
    assert starts == pytest.approx([1.0 + 1.5 * i for i in range(len(SAID))], abs=0.05)
    assert [s["end"] - s["start"] for s in answer["segments"]] == pytest.approx(
        [0.5] * len(SAID), abs=0.05
    )
    assert answer["words"] == [], "what nobody measured is not made up"
    assert answer["language"] == "russian"


def test_subtitles_need_no_words(open_desk: Open) -> None:
    desk, _ = open_desk()
    cues = ask(desk, RECORDING, response_format="srt").text
    assert " ".join(re.findall("[а-я]+", cues)).split() == list(SAID)
    moments = [
        3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000
        for h, m, s, ms in re.findall(r"(\d+):(\d+):(\d+),(\d+)", cues)
    ]
    assert moments == sorted(moments)
    assert moments[0] == pytest.approx(1.0, abs=0.05)
    assert moments[-1] <= len(recording(*SAID)) / RATE


def test_only_openais_fields_are_sent(open_desk: Open) -> None:
    desk, server = open_desk(strict=True)
    fields = {"prompt": "числа", "logprob_threshold": "-0.5", "languages[]": ["ru", "en"]}
    assert ask(desk, **fields, language="").json()["text"].split() == ["два", "три"]
    ((path, asked),) = server.asked
    assert path == URL
    assert asked.sent_as == "audio/wav", "which every server reads"
    assert set(asked.fields) <= OPENAI_FIELDS
    assert "language" not in asked.fields, "to name none is to ask for it"
    assert asked.fields["prompt"] == ["числа"]
    found = desk.http.post("/detect-language", files={"audio_file": ("a.wav", SHORT)})
    assert found.status_code == 200, found.text


def test_beams_go_along_and_a_refusal_of_them_is_told(open_desk: Open) -> None:
    desk, server = open_desk(strict=True)
    view = run(desk, WHOLE | {"decode": {"beam_size": 4}})
    assert view["status"] == "failed"
    assert "The model service said: Unrecognized" in view["error"]["message"]
    assert "beam_size" in view["error"]["message"]
    assert len(server.asked) == 1, "what is refused once is not sent again"


def test_a_translation_goes_where_openai_has_it(open_desk: Open) -> None:
    desk, server = open_desk(strict=True)
    view = run(desk, WHOLE | {"decode": {"task": "translate"}})
    assert view["status"] == "completed"
    ((path, asked),) = server.asked
    assert path == "/v1/audio/translations"
    assert set(asked.fields) == {"model", "response_format", "temperature"}


def test_the_key_is_shown_and_a_wrong_one_is_told(open_desk: Open) -> None:
    desk, _ = open_desk({"llm_api_key": "right"}, key="right")
    assert run(desk)["status"] == "completed"
    closed, _ = open_desk({"llm_api_key": "wrong", "retry_scale": 1.0}, key="right")
    answer = closed.http.get("/ready")
    assert answer.status_code == 503
    assert "refuses the backend's key" in answer.text
    assert _waits(closed, "LLM_API_KEY")


def test_a_model_without_times_gives_text_window_by_window(open_desk: Open) -> None:
    desk, server = open_desk({"windows_in_flight": 1}, times=False)
    answer = ask(desk, RECORDING).json()
    assert answer["text"].split() == list(SAID)
    first, second = answer["segments"]
    assert (first["start"], answer.get("words", [])) == (0.0, [])
    assert first["end"] <= second["start"] < second["end"] <= answer["duration"]
    formats = [asked.fields["response_format"][0] for _, asked in server.asked]
    assert formats == ["verbose_json", "json", "json"], "it is asked for times once"
    assert "timestamp_granularities[]" not in server.asked[1][1].fields


def test_text_alone_is_taken_as_it_is(open_desk: Open) -> None:
    desk, _ = open_desk(ignores_format=True)
    answer = ask(desk).json()
    assert answer["text"].split() == ["два", "три"]
    (segment,) = answer["segments"]
    assert (segment["start"], segment["end"]) == (0.0, pytest.approx(4.0))


def test_times_behind_the_recording_stay_in_it(open_desk: Open) -> None:
    desk, _ = open_desk(late_s=1.2)
    answer = ask(desk).json()
    assert all(0 <= s["start"] <= s["end"] <= 4.0 for s in answer["segments"])


def test_no_list_of_models_where_one_is_named(open_desk: Open) -> None:
    desk, _ = open_desk({"llm_model": OtherServer.model}, lists_models=False)
    assert desk.http.get("/ready").status_code == 200
    assert desk.http.get("/v1/models").json()["data"][0]["id"] == OtherServer.model
    assert run(desk)["status"] == "completed"


def test_no_list_of_models_and_none_named(open_desk: Open) -> None:
    desk, _ = open_desk({"retry_scale": 1.0}, lists_models=False)
    answer = desk.http.get("/ready")
    assert answer.status_code == 503
    assert "lists no models" in answer.text
    assert _waits(desk, "LLM_MODEL")


def test_the_address_may_end_in_v1(open_desk: Open) -> None:
    desk, _ = open_desk(root="/v1")
    assert desk.http.get("/ready").status_code == 200
    assert run(desk)["status"] == "completed"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("later", [lambda: "1", lambda: formatdate(time.time() + 1.9, usegmt=True)])
def test_a_busy_server_is_asked_again_when_it_says(
    steady: tuple[Desk, OtherServer], status: int, later: Callable[[], str]
) -> None:
    desk, server = steady
    busy = refused("Too many requests.", status)
    busy.headers["Retry-After"] = later()
    server.manners.first.append(busy)
    started = time.monotonic()
    view = run(desk)
    assert view["status"] == "completed"
    assert time.monotonic() - started >= 0.8, "a job that failed is begun again at once here"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refused("Maximum file size exceeded"), "The model service said: Maximum file size"),
        (Reply(400, {"object": "error", "message": "no audio", "code": 400}), "said: no audio"),
        (Reply(422, {"detail": "Model is not installed"}), "said: Model is not installed"),
        (
            Reply(422, {"detail": [{"loc": ["body", "language"], "msg": "Input should be 'en'"}]}),
            "said: language: Input should be 'en'",
        ),
        (Reply(400, b"bad sound", {"Content-Type": "text/plain"}), "said: bad sound"),
        (Reply(413, b"<html>nginx</html>"), "status 413"),
        (refused("The model `x` does not exist.", 404), "said: The model `x` does not exist."),
    ],
)
def test_a_refusal_says_what_the_server_said(
    steady: tuple[Desk, OtherServer], reply: Reply, said: str
) -> None:
    desk, server = steady
    server.manners.first.append(reply)
    view = run(desk)
    assert view["status"] == "failed", "it is not sent again"
    assert said in view["error"]["message"]
    assert not server.manners.first


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(hang_up=True), "broke the connection off"),
        (Reply(200, b"<html>Welcome</html>"), "not JSON"),
        (Reply(200, b"[]"), "not OpenAI's"),
        (Reply(200, b"{}"), "not OpenAI's"),
        (Reply(200, {"segments": [{"text": "да"}]}), "not OpenAI's"),
        (Reply(500, {"error": {"message": "EngineDeadError"}}), "said: EngineDeadError"),
    ],
)
def test_what_may_pass_is_tried_again_then_told(
    steady: tuple[Desk, OtherServer], reply: Reply, said: str
) -> None:
    desk, server = steady
    server.manners.first.append(reply)
    assert run(desk)["status"] == "completed"
    server.manners.first.extend([reply] * 30)
    view = run(desk)
    server.manners.first.clear()
    assert view["status"] == "failed"
    assert said in view["error"]["message"]
