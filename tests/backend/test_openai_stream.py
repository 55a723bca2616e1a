"""`stream=true`: events as OpenAI's clients read them, pieces that join to the whole."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from .desk import Desk, until
from .model_server import Asked, ModelServer, Reply, heard
from .serving import serving
from .sounds import noise, wav

URL = "/v1/audio/transcriptions"
WINDOW_S = 2
FORM = {"model": "gpt-4o-transcribe", "stream": "true", "vad": "false", "chunk_size_s": "2"}


@pytest.fixture
def served(desk: Desk) -> Iterator[str]:
    with serving(desk.app) as url:
        yield url


def file(windows: int, seed: int = 1) -> tuple[str, bytes]:
    """A recording of so many windows."""
    return "a.wav", wav(noise(windows * WINDOW_S, seed))


def frames(body: str) -> list[Any]:
    """The data of every event."""
    lines = [line for line in body.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def told(texts: list[str]) -> Any:
    """A model that says these texts, one for each window it is asked for."""
    left = list(texts)

    def answer(asked: Asked) -> Reply:
        return Reply(body=heard(asked, left.pop(0) if left else ""))

    return answer


def test_pieces_join_to_the_whole(desk: Desk, model: ModelServer) -> None:
    model.answer = told([" Раз, два.", "", "  три   четыре.", " Пять!"])
    answer = desk.http.post(URL, data=FORM, files={"file": file(4)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = frames(answer.text)
    assert [event["type"] for event in events[:-1]] == ["transcript.text.delta"] * len(events[:-1])
    done = events[-1]
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in events[:-1]) == done["text"]
    # windows may be answered in any order, and a full stop at a seam may go
    said = [word.strip(".,!").lower() for word in done["text"].split()]
    assert sorted(said) == sorted(["раз", "два", "три", "четыре", "пять"])
    assert done["usage"]["total_tokens"] == (
        done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    )
    assert done["usage"]["input_tokens"] == 8 * 50
    asked = len(model.asked)
    again = desk.http.post(URL, data=FORM, files={"file": file(4)})
    assert frames(again.text)[-1] == done, "the stored transcript, streamed once more"
    assert len(model.asked) == asked


def test_the_sdk_reads_the_stream(served: str, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked, " Привет, мир."))
    with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0) as client:
        events = list(
            client.audio.transcriptions.create(
                file=file(2),
                model="gpt-4o-transcribe",
                stream=True,
                extra_body={"vad": False, "chunk_size_s": 2},
            )
        )
    names = [type(event).__name__.removeprefix("TranscriptionText") for event in events]
    assert names == ["DeltaEvent"] * len(model.asked) + ["DoneEvent"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text  # type: ignore[union-attr]


def test_diarized_segments_follow_their_text(served: str, model: ModelServer) -> None:
    model.answer = told([" Раз.", " Два."])
    with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0) as client:
        events = list(
            client.audio.transcriptions.create(
                file=file(2),
                model="gpt-4o-transcribe-diarize",
                response_format="diarized_json",
                chunking_strategy="auto",
                stream=True,
                extra_body={"vad": False, "chunk_size_s": 2},
            )
        )
    kinds = [event.type.removeprefix("transcript.text.") for event in events]
    assert kinds == ["delta", "segment", "delta", "segment", "done"]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert [(s.id, s.speaker) for s in segments] == [("seg_0", "A"), ("seg_1", "A")]
    assert [s.start < s.end for s in segments] == [True, True]
    assert [event.segment_id for event in events if event.type == "transcript.text.delta"] == [
        "seg_0",
        "seg_1",
    ]


def test_the_first_piece_does_not_wait_for_the_last(served: str, model: ModelServer) -> None:
    gate = threading.Event()
    asked_for: list[Asked] = []

    def answer(asked: Asked) -> Reply:
        asked_for.append(asked)
        if len(asked_for) > 2:
            gate.wait(60)
        return Reply(body=heard(asked, f" Окно {len(asked_for)}."))

    model.answer = answer
    with (
        httpx.Client(timeout=90) as client,
        client.stream("POST", served + URL, data=FORM, files={"file": file(5)}) as response,
    ):
        lines = response.iter_lines()
        first = next(line for line in lines if line.startswith("data: "))
        assert json.loads(first.removeprefix("data: "))["type"] == "transcript.text.delta"
        assert not gate.is_set()
        gate.set()
        rest = list(lines)
    assert '"transcript.text.done"' in rest[-2]


def test_a_word_at_a_cut_is_not_sent_before_it_is_whole(desk: Desk, model: ModelServer) -> None:
    sure = told([" Это стено", " стенография."])

    def answer(asked: Asked) -> Reply:
        reply: Reply = sure(asked)
        for word in reply.body["words"]:
            word["probability"] = 0.4
        return reply

    model.answer = answer
    folder = desk.house.settings.data_dir / "one"
    with Desk(folder, model.url, windows_in_flight=1) as one:
        answered = one.http.post(URL, data=FORM, files={"file": ("a.wav", wav(noise(3)))})
    assert len(model.asked) == 2
    events = frames(answered.text)
    assert events[-1]["text"] == "Это стенография."
    assert "".join(event["delta"] for event in events[:-1]) == "Это стенография."


def test_a_failure_in_the_middle_is_an_event(served: str, model: ModelServer) -> None:
    begun = threading.Event()

    def answer(asked: Asked) -> Reply:
        if len(model.asked) < 6:  # two are asked for at a time, in any order
            return Reply(body=heard(asked, " Раз."))
        begun.wait(60)
        return Reply(400, {"error": {"code": "invalid_request", "message": "No more."}})

    model.answer = answer
    with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0) as client:
        stream = client.audio.transcriptions.create(
            file=file(12),
            model="whisper-1",
            stream=True,
            extra_body={"vad": False, "chunk_size_s": 2},
        )
        assert next(iter(stream)).type == "transcript.text.delta"
        begun.set()
        with pytest.raises(openai.APIError, match=r"No more\.") as failure:
            list(stream)
    assert failure.value.code == "invalid_request"


def test_a_failure_before_the_first_event_has_its_status(desk: Desk, model: ModelServer) -> None:
    answer = desk.http.post(URL, data=FORM, files={"file": ("a.wav", b"no sound")})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("unsupported_format", "undecodable_audio")
    model.ready = Reply(503, {"status": "loading", "progress": 0.5})
    busy = desk.http.post(URL, data=FORM, files={"file": file(1)})
    assert (busy.status_code, busy.headers["x-should-retry"]) == (503, "true")
    assert "retry-after" in busy.headers
    uploads = desk.house.settings.data_dir / "uploads"
    until(lambda: not desk.http.get("/v1/jobs").json()["data"] or list(uploads.iterdir()))


def test_who_waits_for_the_first_piece_hears_a_ping(model: ModelServer, desk: Desk) -> None:
    model.answer = lambda asked: Reply(body=heard(asked, " Раз."), delay_s=2.5)
    folder = desk.house.settings.data_dir / "quick"
    with Desk(folder, model.url, answer_start_s=0.2) as quick:
        body = quick.http.post(URL, data=FORM, files={"file": file(1)}).text
    assert body.count(": ping\n\n") >= 3
    assert frames(body)[-1]["text"] == "Раз."
    comments = [
        line for line in body.splitlines() if line and not line.startswith(("data:", "eve"))
    ]
    assert set(comments) == {": ping"}


def scored(asked: Asked) -> Reply:
    """A window whose model tells what it thinks of its tokens; a letter takes two of them."""
    body = heard(asked, " Да.")
    tokens = [" Д".encode(), "а".encode()[:1], "а".encode()[1:], b"."]
    if "logprobs" in asked.fields.get("include[]", []):
        body["segments"][0]["logprobs"] = [
            {"token": t.decode("utf-8", "replace"), "bytes": list(t), "logprob": -0.25 * i}
            for i, t in enumerate(tokens)
        ]
    return Reply(body=body)


def test_probabilities_of_tokens(desk: Desk, model: ModelServer) -> None:
    row = {"id": "model-a", "object": "model", "owned_by": "stenograf", "logprobs": True}
    model.models = Reply(body={"object": "list", "data": [row]})
    model.answer = scored
    form = {"vad": "false", "include[]": "logprobs"}
    whole = desk.http.post(URL, data=form, files={"file": file(1)}).json()
    assert [token["logprob"] for token in whole["logprobs"]] == [0, -0.25, -0.5, -0.75]
    assert b"".join(bytes(t["bytes"]) for t in whole["logprobs"]).decode() == " Да."
    events = frames(
        desk.http.post(URL, data=form | {"stream": "true"}, files={"file": file(1)}).text
    )
    assert events[0]["logprobs"] == events[1]["logprobs"] == whole["logprobs"]
    assert len(model.asked) == 1
    plain = desk.http.post(URL, data={"vad": "false"}, files={"file": file(1)}).json()
    assert "logprobs" not in plain


def test_a_model_server_that_tells_no_probabilities(desk: Desk, model: ModelServer) -> None:
    answer = desk.http.post(URL, data={"include[]": "logprobs"}, files={"file": file(1)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "include[]")
    assert not model.asked


def test_a_model_that_cannot_translate_says_so_at_once(desk: Desk, model: ModelServer) -> None:
    row = {"id": "model-a", "object": "model", "tasks": ["transcribe"]}
    model.models = Reply(body={"object": "list", "data": [row]})
    answer = desk.http.post("/v1/audio/translations", files={"file": file(1)})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "task")
    assert "cannot translate" in error["message"]
    assert desk.http.get("/v1/jobs").json()["data"] == []
