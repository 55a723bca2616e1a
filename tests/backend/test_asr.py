"""`/asr` as Bazarr, Speakr and curl call it, and what the peers' own servers get wrong."""

import csv
import io
import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pysubs2
import pytest
import requests
import soundfile
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.pcm import to_s16

from ..clients.kit import assert_heard
from ..servers import SAMPLES, House, Process
from ..waiting import all_at_once
from .desk import Desk
from .model_server import Asked, ModelServer, Reply, heard
from .sounds import noise, silence, wav

URL = "/asr"
RECORDING = SAMPLES / "extension_ru.flac"
MONOLOGUE = SAMPLES / "monologue_ru.flac"
SPEECH = RECORDING.read_bytes()
SILENCE = wav(silence(1))


def raw_pcm(recording: Path) -> bytes:
    """What `ffmpeg -f s16le -ac 1 -ar 16000` makes of a sample, which is mono at 16 kHz."""
    waveform, rate = soundfile.read(recording, dtype="float32")
    assert (rate, waveform.ndim) == (16_000, 1)
    return to_s16(waveform)


def ask(desk: Desk, *, file: bytes = SPEECH, name: str = "запись.flac", **more: Any) -> Any:
    """POST /asr."""
    return desk.http.post(URL, files={"audio_file": (name, file)}, **more)


def uploads(desk: Desk) -> list[Path]:
    """What the upload store holds."""
    return sorted((desk.house.settings.data_dir / "uploads").iterdir())


def test_bazarr_finds_the_language_and_gets_subtitles(shared_house: House) -> None:
    pcm = raw_pcm(MONOLOGUE)
    session = requests.Session()
    session.headers["User-Agent"] = "Subliminal/2.2"
    detected = session.post(
        f"{shared_house.url}/detect-language",
        params={"encode": "false", "video_file": "/films/Кино.mkv"},
        files={"audio_file": pcm},
        timeout=(5, 120),
    )
    assert detected.json()["detected_language"] == "russian"
    assert detected.json()["language_code"] == "ru"
    assert 0.5 < detected.json()["confidence"] <= 1
    params = {
        "task": "transcribe",
        "language": "ru",
        "output": "srt",
        "encode": "false",
        "video_file": "/films/Кино.mkv",
    }
    answer = session.post(
        f"{shared_house.url}{URL}", params=params, files={"audio_file": pcm}, timeout=(5, 120)
    )
    assert answer.status_code == 200
    subtitles = list(srt.parse(answer.content.decode()))
    assert_heard(" ".join(cue.content for cue in subtitles), MONOLOGUE)
    edges = [edge for cue in subtitles for edge in (cue.start, cue.end)]
    assert edges == sorted(edges)
    assert 60 < edges[-1].total_seconds() < 72
    assert srt.compose(subtitles).strip() == answer.content.decode().strip()
    events = pysubs2.SSAFile.from_string(answer.content.decode())
    assert [event.plaintext for event in events] == [cue.content for cue in subtitles]
    job = session.get(f"{shared_house.url}/v1/jobs").json()["data"][0]
    assert (job["title"], job["filename"]) == ("Кино.mkv", "audio_file")
    web = session.post(
        f"{shared_house.url}{URL}",
        params=params | {"output": "vtt"},
        files={"audio_file": pcm},
        timeout=(5, 120),
    )
    assert [cue.text for cue in webvtt.from_string(web.text)] == [cue.content for cue in subtitles]
    said_in_the_form = session.post(
        f"{shared_house.url}{URL}", data=params, files={"audio_file": pcm}, timeout=(5, 120)
    )
    # a slow answer begins with empty lines
    assert said_in_the_form.content.strip() == answer.content.strip()


def test_speakr_gets_segments_it_can_show(shared_house: House) -> None:
    params = {
        "encode": True,
        "task": "transcribe",
        "output": "json",
        "language": "ru",
        "diarize": True,
        "enable_diarization": True,
        "return_speaker_embeddings": True,
        "min_speakers": 1,
        "max_speakers": 3,
        "model": "large-v3",
    }  # and a prompt, which the demo model has never seen one of
    with httpx.Client() as client:
        answer = client.post(
            f"{shared_house.url}{URL}",
            params=params,
            files={"audio_file": ("запись.flac", SPEECH, "audio/flac")},
            timeout=httpx.Timeout(None, connect=60.0, read=1800.0),
        )
        answer.raise_for_status()
        shape = answer.json()
        assert isinstance(shape["text"], str)
        assert shape["language"] == "ru"
        assert_heard(" ".join(segment["text"] for segment in shape["segments"]), RECORDING)
        assert all(0 <= row["start"] < row["end"] <= 5.0 for row in shape["segments"])
        assert "speaker_embeddings" not in shape, "there are none, and none are made up"
        assert [note["code"] for note in shape["warnings"]] == ["no_speakers"]
        assert client.get(f"{shared_house.url}/v1/models").json()["data"][0]["id"] == shape["model"]
        assert client.get(f"{shared_house.url}/health").json()["loaded_models"] == [shape["model"]]


def test_curl_may_say_everything_in_the_form(shared_house: House) -> None:
    fields = {"language": "ru", "output_format": "json", "diarize": "false", "model": "large-v3"}
    form = [part for name, value in fields.items() for part in ("-F", f"{name}={value}")]
    curl = ["curl", "-sS", "--fail-with-body", "-F", f"audio_file=@{RECORDING}"]
    in_form = subprocess.run(
        [*curl, *form, f"{shared_house.url}{URL}"], capture_output=True, check=True
    )
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    in_query = subprocess.run(
        [*curl, f"{shared_house.url}{URL}?{query}"], capture_output=True, check=True
    )
    shape = json.loads(in_form.stdout)
    assert shape == json.loads(in_query.stdout)
    assert_heard(" ".join(word["word"] for word in shape["word_segments"]), RECORDING)
    plain = subprocess.run([*curl, f"{shared_house.url}{URL}"], capture_output=True, check=True)
    assert_heard(plain.stdout.decode(), RECORDING)


def test_health_answers_while_a_long_file_is_decoded(make_backend: Callable[..., Process]) -> None:
    backend = make_backend()
    took: list[float] = []
    requests.get(f"{backend.url}/health", timeout=60)
    body = to_s16(np.tile(noise(60).astype(np.float32), 8))
    answers: list[requests.Response] = []

    def work() -> None:
        answers.append(
            requests.post(
                f"{backend.url}{URL}?encode=false", files={"audio_file": body}, timeout=120
            )
        )

    worker = threading.Thread(target=work)
    started = time.monotonic()
    worker.start()
    while worker.is_alive():
        began = time.monotonic()
        assert requests.get(f"{backend.url}/health", timeout=60).status_code == 200
        took.append(time.monotonic() - began)
        time.sleep(0.01)
    total_s = time.monotonic() - started
    assert answers[0].status_code == 200
    assert len(took) > 10
    p90_s = np.percentile(took, 90)
    assert p90_s < max(1.0, total_s / 4), f"p90 {p90_s:.3f} s of {len(took)} in {total_s:.1f} s"


@pytest.mark.parametrize(
    ("output", "media_type"),
    [
        ("txt", "text/plain; charset=utf-8"),
        ("srt", "application/x-subrip; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("tsv", "text/tab-separated-values; charset=utf-8"),
        ("json", "application/json"),
    ],
)
def test_every_output_is_a_file(steady_desk: Desk, output: str, media_type: str) -> None:
    answer = ask(steady_desk, params={"output": output})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["asr-engine"] == "stenograf"
    named = answer.headers["content-disposition"]
    assert named.startswith(f"attachment; filename=\"______.flac.{output}\"; filename*=UTF-8''")
    assert requests.utils.unquote(named.rpartition("''")[2]) == f"запись.flac.{output}"
    _READERS[output](answer.text)


def _read_json(text: str) -> None:
    shape = json.loads(text)
    segment = shape["segments"][0]
    assert (shape["text"], segment["text"], shape["language"]) == ("раз два", " раз два", "ru")
    assert [word["word"] for word in segment["words"]] == ["раз", "два"]
    assert segment["words"] == shape["word_segments"]
    assert {"id", "seek", "tokens", "temperature", "avg_logprob", "no_speech_prob"} <= set(segment)
    assert {"start", "end", "score"} <= set(segment["words"][0])


def _read_tsv(text: str) -> None:
    [row] = csv.DictReader(io.StringIO(text), delimiter="\t")
    assert row["text"] == "раз два"
    assert 0 <= int(row["start"]) < int(row["end"]) <= 5_010


_READERS: dict[str, Callable[[str], Any]] = {
    "json": _read_json,
    "tsv": _read_tsv,
    "txt": lambda text: [text.splitlines().index("раз два")],
    "srt": lambda text: [
        [cue.content for cue in srt.parse(text)].index("раз два"),
        [event.plaintext for event in pysubs2.SSAFile.from_string(text)].index("раз два"),
    ],
    "vtt": lambda text: [cue.text for cue in webvtt.from_string(text)].index("раз два"),
}


@pytest.mark.parametrize("output", ["txt", "srt", "vtt", "tsv", "json"])
def test_a_long_answer_begins_early_and_reads_the_same(
    tmp_path: Path, model: ModelServer, output: str
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=1.5)
    with Desk(tmp_path, model.url, answer_start_s=0.1) as desk:
        slow = ask(desk, params={"output": output})
        quick = ask(desk, params={"output": output})
    assert "content-length" not in slow.headers, "it began before its end was known"
    assert slow.headers["content-disposition"] == quick.headers["content-disposition"]
    assert slow.headers["content-type"] == quick.headers["content-type"]
    assert "".join(slow.text.split()) == "".join(quick.text.split())
    _READERS[output](slow.text)


def test_an_answer_that_fails_late_breaks_off(
    make_backend: Callable[..., Process], model: ModelServer
) -> None:
    no = {"error": {"code": "invalid_request", "message": "no such thing"}}
    model.answer = lambda _: Reply(400, no, delay_s=1.5)
    backend = make_backend(LLM_ENDPOINT=model.url, ANSWER_START_S="0.2")
    for output in ("json", "srt"):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.post(
                f"{backend.url}{URL}?output={output}",
                files={"audio_file": ("a.flac", SPEECH)},
                timeout=60,
            )


def test_who_left_finds_the_work_done(
    make_backend: Callable[..., Process], model: ModelServer
) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=2.0)
    backend = make_backend(LLM_ENDPOINT=model.url, ANSWER_START_S="0.2")
    files = {"audio_file": ("a.flac", SPEECH)}
    with httpx.Client(timeout=30) as client:
        with client.stream("POST", f"{backend.url}{URL}", files=files) as answer:
            assert next(answer.iter_raw()) == b"\n"  # it has begun, and the client goes
        again = client.post(f"{backend.url}{URL}", files=files)
    assert again.text.strip() == "раз два"
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("params", "output"),
    [
        ({}, "txt"),
        ({"diarize": "true", "language": "ru"}, "txt"),
        ({"output_format": "text"}, "txt"),
        ({"model": "large-v3"}, "json"),
        ({"hotwords": "имя"}, "json"),
        ({"output_format": "json", "output": "vtt"}, "vtt"),
        ({"output": "SRT"}, "srt"),
    ],
)
def test_what_is_answered_when_little_is_asked(
    steady_desk: Desk, params: dict[str, str], output: str
) -> None:
    answer = ask(steady_desk, file=SILENCE, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].endswith(f".{output}")


@pytest.mark.parametrize("place", ["params", "data"])
def test_parameters_count_in_the_query_and_in_the_form(
    desk: Desk, model: ModelServer, place: str
) -> None:
    fields = {
        "task": "translate",
        "language": "Russian",
        "initial_prompt": "Оператор.",
        "hotwords": "Иванов, Петров",
        "output": "json",
        "word_timestamps": "false",
    }
    shape = ask(desk, **{place: fields}).json()
    sent = model.asked[-1].fields
    assert sent["task"] == ["translate"]
    assert sent["language"] == ["ru"]
    assert sent["prompt"] == ["Оператор. Иванов, Петров"]
    assert shape["segments"][0]["words"] is None
    assert shape["word_segments"] == []


def test_without_a_language_it_is_detected(desk: Desk, model: ModelServer) -> None:
    assert ask(desk).status_code == 200
    assert "language" not in model.asked[-1].fields


@pytest.mark.parametrize("spelled", ["ru", "RU", "ru-RU", "ru_RU", "Russian"])
def test_a_language_may_be_spelled_in_many_ways(
    desk: Desk, model: ModelServer, spelled: str
) -> None:
    assert ask(desk, params={"language": spelled}).status_code == 200
    assert model.asked[-1].fields["language"] == ["ru"]


def test_nobody_hears_anothers_hotwords(desk: Desk, model: ModelServer) -> None:
    def slow(asked: Asked) -> Reply:
        return Reply(body=heard(asked, f" {asked.fields['prompt'][0]}"), delay_s=0.2)

    model.answer = slow

    def told(n: int) -> str:
        shape = ask(desk, params={"output": "json", "hotwords": f"имя{n}"}).json()
        return str(shape["text"])

    assert all_at_once(4, told) == [f"имя{n}" for n in range(4)]


def test_a_long_prompt_is_cut_and_not_refused(desk: Desk, model: ModelServer) -> None:
    assert ask(desk, params={"hotwords": "слово " * 700}).status_code == 200
    assert 1_900 < len(model.asked[-1].fields["prompt"][0]) <= 2_000


@pytest.mark.parametrize("name", ["whisper-1", "large-v3", "distil-medium.en", "model-a", ""])
def test_names_of_whisper_mean_the_model_there_is(steady_desk: Desk, name: str) -> None:
    shape = ask(steady_desk, params={"output": "json", "model": name}).json()
    assert shape["model"] == "model-a"


@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        ({"output": "docx"}, 400, "output"),
        ({"task": "sing"}, 400, "task"),
        ({"language": "по-русски"}, 400, "language"),
        ({"encode": "maybe"}, 400, "encode"),
        ({"vad_filter": "2"}, 400, "vad_filter"),
        ({"min_speakers": "many"}, 400, "min_speakers"),
        ({"num_speakers": "nan"}, 400, "num_speakers"),
        ({"model": "nonesuch"}, 404, "nonesuch"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_no_upload(
    steady_desk: Desk, params: dict[str, str], status: int, says: str
) -> None:
    before = uploads(steady_desk)
    answer = ask(steady_desk, params=params)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert uploads(steady_desk) == before


@pytest.mark.parametrize("name", ["a b.mp3 -i /etc/passwd", "../../x.wav", "…" * 200, "", "a.m3u8"])
def test_a_file_may_be_called_anything(steady_desk: Desk, name: str) -> None:
    answer = ask(steady_desk, name=name, params={"output": "srt"})
    if name:
        assert answer.status_code == 200
        assert "раз два" in answer.text
    else:
        assert answer.status_code == 400, "without a name it is a field and no file"


@pytest.mark.parametrize("file", [b"", b"this is no recording", b"\x00" * 5_000])
def test_a_file_that_is_no_recording_is_not_sent_again(steady_desk: Desk, file: bytes) -> None:
    answer = ask(steady_desk, file=file)
    assert answer.status_code == 400, "Speakr sends a file again on any other status of its kind"
    assert answer.json()["detail"]


def test_raw_sound_without_a_sample_is_a_bad_request(steady_desk: Desk) -> None:
    assert ask(steady_desk, file=b"", params={"encode": "false"}).status_code == 400
    assert ask(steady_desk, file=b"\x01", params={"encode": "false"}).status_code == 400


def test_a_form_without_the_recording_is_a_bad_request(steady_desk: Desk) -> None:
    before = uploads(steady_desk)
    for request in (
        {"data": {"language": "ru"}},
        {"files": {"sound": ("a.wav", SILENCE)}},
        {"files": [("audio_file", ("a", SILENCE)), ("audio_file", ("b", SILENCE))]},
        {"content": SILENCE},
    ):
        answer = steady_desk.http.post(URL, **request)
        assert answer.status_code == 400
        assert answer.json()["detail"]
    assert uploads(steady_desk) == before


def test_a_file_that_is_too_large_is_refused_before_it_is_stored(
    tmp_path: Path, model: ModelServer
) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\n'
        while sent < 64 * 1024**2:
            sent += 65_536
            yield bytes(65_536)

    with Desk(tmp_path, model.url, max_upload_bytes=300_000) as desk:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = desk.http.post(URL, content=endless(), headers=headers)
        assert answer.status_code == 413
        assert uploads(desk) == []


def test_who_meets_a_full_queue_is_told_to_come_back(tmp_path: Path, model: ModelServer) -> None:
    model.answer = lambda asked: Reply(body=heard(asked), delay_s=1.0)
    with Desk(tmp_path, model.url, max_queued_jobs=1) as desk:
        for seed in range(3):
            desk.house.service.queue.close(5)  # nothing is worked on any more
            answer = desk.http.post(
                "/v1/jobs", json={"upload_id": desk.upload(wav(noise(1, seed)))}
            )
            if answer.status_code == 429:
                break
        answer = ask(desk)
        assert answer.status_code == 503, "Speakr gives up on 429"
        assert int(answer.headers["retry-after"]) > 0


def test_a_model_that_is_not_there_is_a_503(tmp_path: Path) -> None:
    with Desk(tmp_path, "http://127.0.0.1:1", retry_scale=1.0) as desk:
        for params in ({}, {"model": "large-v3"}):
            answer = ask(desk, params=params)
            assert answer.status_code == 503
            assert answer.json()["detail"]


def test_a_model_that_cannot_translate_says_so(desk: Desk, model: ModelServer) -> None:
    row = {"id": "model-a", "object": "model", "tasks": ["transcribe"]}
    model.models = Reply(body={"object": "list", "data": [row]})
    answer = ask(desk, params={"task": "translate"})
    assert answer.status_code == 400
    assert "translate" in answer.json()["detail"]
    assert uploads(desk) == []


_VALUES = st.sampled_from(
    ["", "true", "false", "1", "-1", "0", "1e308", "nan", "ru", "Russian", "auto", "json", "srt"]
) | st.text(max_size=40)
_NAMES = st.sampled_from(
    [
        *("encode", "task", "language", "initial_prompt", "hotwords", "vad_filter", "diarize"),
        *("word_timestamps", "enable_diarization", "min_speakers", "max_speakers", "model"),
        *("num_speakers", "output", "output_format", "return_speaker_embeddings", "video_file"),
        "unknown",
    ]
)
_FIELDS = st.dictionaries(_NAMES, _VALUES, max_size=6)


@settings(max_examples=60)
@given(query=_FIELDS, form=_FIELDS)
def test_no_parameter_is_a_fault_of_ours(
    steady_desk: Desk, query: dict[str, str], form: dict[str, str]
) -> None:
    answer = ask(steady_desk, file=SILENCE, params=query, data=form)
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]
