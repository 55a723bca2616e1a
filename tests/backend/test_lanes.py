"""Nobody waits for strangers' long recordings, and no long one waits for ever."""

import io
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from stenograf.audio.decode import DecodeLimits
from stenograf.backend.lengths import Lengths
from stenograf.contract.errors import NotFound
from stenograf.settings import BackendSettings

from .desk import NO_VAD, Desk, until
from .model_server import Asked, ModelServer, Reply, heard
from .sounds import RATE, noise, wav

CLIP_S, CALL_S, LONG_S = 2, 6, 15
HELD = "the model takes its time for this one"


def is_held(asked: Asked) -> bool:
    """Whether the recording is one of those that the model keeps."""
    return asked.fields.get("prompt") == [HELD]


@pytest.fixture
def gate(model: ModelServer) -> Iterator[threading.Event]:
    """Windows of recordings that are kept are answered once it is set, others at once."""
    opened = threading.Event()

    def answer(asked: Asked) -> Reply:
        if is_held(asked):
            opened.wait(120)
        return Reply(body=heard(asked))

    model.answer = answer
    yield opened
    opened.set()


@pytest.fixture
def desk(tmp_path: Path, model: ModelServer, gate: threading.Event) -> Iterator[Desk]:
    """Two workers for anything, one more for recordings up to 3 s and one for those up to 10 s."""
    with Desk(tmp_path, model.url, workers=2, short_workers_s="3,10") as open_desk:
        yield open_desk
        gate.set()  # a shutdown need not wait for what is held


def held(desk: Desk, length_s: float, seed: int) -> str:
    """The id of a job that the model keeps."""
    options = NO_VAD | {"decode": {"prompt": HELD}}
    job_id: str = desk.submit(wav(noise(length_s, seed)), options)["id"]
    return job_id


def busy(desk: Desk, model: ModelServer) -> list[str]:
    """Both workers have a long recording at the model."""
    jobs = [held(desk, LONG_S, seed) for seed in (1, 2)]
    for job_id in jobs:
        desk.wait(job_id, "running")
    until(lambda: len({asked.recording for asked in model.asked if is_held(asked)}) == 2)
    return jobs


def statuses(desk: Desk, jobs: list[str]) -> list[str]:
    return [desk.job(job_id)["status"] for job_id in jobs]


def send(desk: Desk, length_s: float, seed: int = 9) -> Any:
    """What OpenAI's clients do: one request, one answer."""
    files = {"file": ("clip.wav", wav(noise(length_s, seed)), "audio/wav")}
    form = {"model": "whisper-1", "response_format": "json"}
    return desk.http.post("/v1/audio/transcriptions", files=files, data=form)


def test_a_clip_passes_long_recordings_and_these_still_end(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    long = [*busy(desk, model), held(desk, LONG_S, 3), held(desk, LONG_S, 4)]
    clip = desk.submit(wav(noise(CLIP_S, 5)), {"cut": {"vad": False}})["id"]
    assert desk.wait(clip)["status"] == "completed"
    assert statuses(desk, long) == ["running", "running", "queued", "queued"]
    gate.set()
    for job_id in long:
        assert desk.wait(job_id)["status"] == "completed"


def test_many_requests_at_once_pass_them_too(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    long = busy(desk, model)
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda seed: send(desk, CLIP_S, seed), range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert statuses(desk, long) == ["running"] * 2


def test_what_is_neither_short_nor_long_has_a_lane_as_well(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    long = busy(desk, model)
    call = held(desk, CALL_S, 3)
    desk.wait(call, "running")
    second_call = held(desk, CALL_S, 4)
    assert send(desk, CLIP_S).status_code == 200  # by the lane that no call may enter
    assert statuses(desk, [*long, call, second_call]) == ["running"] * 3 + ["queued"]
    gate.set()
    for job_id in (*long, call, second_call):
        assert desk.wait(job_id)["status"] == "completed"


def test_of_equals_the_first_comes_first(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    long = busy(desk, model)
    calls = [held(desk, CALL_S, seed) for seed in range(3, 7)]
    desk.wait(calls[0], "running")
    gate.set()
    ended = [desk.wait(job_id) for job_id in (*long, *calls)]
    started = [view["started_at"] for view in ended]
    assert started == sorted(started)


def test_no_recording_is_looked_at_while_somebody_is_free(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    lengths = desk.house.settings.data_dir / "lengths"
    for seed in range(3):
        desk.wait(desk.submit(wav(noise(CLIP_S, seed)))["id"])
    assert not lengths.exists()
    busy(desk, model)
    assert send(desk, CLIP_S).status_code == 200
    until(lambda: lengths.exists() and not list(lengths.iterdir()))


def test_what_is_no_recording_is_told_at_once(
    desk: Desk, model: ModelServer, gate: threading.Event
) -> None:
    long = busy(desk, model)
    view = desk.wait(desk.submit("не звук\n".encode() * 50)["id"])
    assert (view["status"], view["error"]["code"]) == ("failed", "unsupported_format")
    assert statuses(desk, long) == ["running"] * 2


def test_a_restart_goes_on_with_everything(
    tmp_path: Path, model: ModelServer, gate: threading.Event
) -> None:
    lanes = {"workers": 1, "short_workers_s": "10"}
    with Desk(tmp_path, model.url, **lanes) as desk:
        jobs = [held(desk, LONG_S, 1)]
        desk.wait(jobs[0], "running")
        jobs.append(held(desk, CALL_S, 2))
        desk.wait(jobs[1], "running")
    gate.set()
    with Desk(tmp_path, model.url, **lanes) as desk:
        for job_id in jobs:
            assert desk.wait(job_id)["status"] == "completed"


def test_backends_that_share_a_database_do_not_begin_it_twice(
    tmp_path: Path, model: ModelServer, gate: threading.Event
) -> None:
    lanes = {"workers": 1, "short_workers_s": "3,10"}
    with Desk(tmp_path, model.url, **lanes) as one, Desk(tmp_path, model.url, **lanes) as other:
        long = busy(one, model)
        clips = [desk.submit(wav(noise(CLIP_S, 5)))["id"] for desk in (one, other) * 3]
        clips += [one.submit(wav(noise(CLIP_S, seed)))["id"] for seed in range(6, 10)]
        for clip in clips:
            assert other.wait(clip)["status"] == "completed"
        assert statuses(one, long) == ["running"] * 2
        assert len([asked for asked in model.asked if not is_held(asked)]) == 5
        gate.set()
        for job_id in long:
            assert one.wait(job_id)["status"] == "completed"


def test_a_killed_process_leaves_nothing_to_disk(tmp_path: Path, model: ModelServer) -> None:
    left = tmp_path / "lengths" / "tmp1" / "sound.f32.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(1000))
    with Desk(tmp_path, model.url):
        assert not left.exists()


@pytest.mark.parametrize("wrong", ["soon", "120,", "120,-1", "nan", "1e9", "inf", "1," * 64 + "1"])
def test_wrong_lengths_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="short_workers_s"):
        BackendSettings(_env_file=None, short_workers_s=wrong)


@pytest.mark.parametrize(
    ("listed", "read"), [("0", ()), ("90", (90.0,)), (" 60, 2.5 ,0", (60.0, 2.5))]
)
def test_lengths_are_read(listed: str, read: tuple[float, ...]) -> None:
    assert BackendSettings(_env_file=None, short_workers_s=listed).short_workers == read


BOUND_S = 5.0


@pytest.fixture
def lengths(tmp_path: Path) -> Lengths:
    limits = DecodeLimits(min_free_bytes=0)
    return Lengths(limits, tmp_path / "lengths", bound_s=BOUND_S)


def never() -> bool:
    return False


@pytest.mark.parametrize("length_s", [0.5, BOUND_S, BOUND_S + 0.01, 8.0, 60.0])
@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_a_length_is_exact_up_to_the_bound(
    lengths: Lengths, tmp_path: Path, length_s: float, format: str
) -> None:
    file = tmp_path / "sound"
    soundfile.write(file, noise(length_s), RATE, format=format)
    found = lengths.of("a", lambda: file, never)
    assert found == (pytest.approx(length_s) if length_s <= BOUND_S else math.inf)
    file.unlink()
    assert lengths.of("a", lambda: file, never) == found  # it is not looked at again
    assert not list((tmp_path / "lengths").iterdir())


def test_a_header_that_claims_little_is_not_believed(lengths: Lengths, tmp_path: Path) -> None:
    file = tmp_path / "sound"
    short, long = io.BytesIO(), io.BytesIO()
    soundfile.write(short, noise(1), RATE, format="OGG")
    soundfile.write(long, noise(2 * BOUND_S), RATE, format="OGG")
    file.write_bytes(short.getvalue() + long.getvalue())  # the file tells the first one's length
    assert lengths.of("a", lambda: file, never) == math.inf


def test_what_cannot_be_told_now_is_looked_at_later(lengths: Lengths, tmp_path: Path) -> None:
    file = tmp_path / "sound"

    def nowhere() -> Path:
        raise NotFound("It is gone.")

    assert lengths.of("a", nowhere, never) is None
    assert lengths.of("a", lambda: file, never) is None
    file.write_bytes(wav(noise(1)))
    assert lengths.of("a", lambda: file, lambda: True) is None
    assert lengths.of("a", lambda: file, never) == 1.0


def test_a_recording_is_looked_at_once_and_all_who_ask_are_told(
    lengths: Lengths, tmp_path: Path
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(wav(noise(1)))
    looking, go_on = threading.Event(), threading.Event()
    looks = []

    def slowly() -> Path:
        looks.append(threading.get_ident())
        looking.set()
        go_on.wait(60)
        return file

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lengths.of, "a", slowly, never)
        assert looking.wait(60)
        second = pool.submit(lengths.of, "a", slowly, never)
        time.sleep(0.2)
        assert not second.done()  # or the next in the queue would be taken before this one
        go_on.set()
        assert (first.result(), second.result()) == (1.0, 1.0)
    assert len(looks) == 1


def test_nobody_waits_long_for_anothers_look(lengths: Lengths, tmp_path: Path) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def hanging() -> Path:
        looking.set()
        go_on.wait(120)
        return tmp_path / "nothing"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lengths.of, "a", hanging, never)
        assert looking.wait(60)
        assert lengths.of("a", hanging, never) is None
        go_on.set()
        assert first.result() is None


@pytest.mark.parametrize("content", [b"", b"no sound at all", np.arange(9000).tobytes()])
def test_no_recording_is_as_quick_as_a_short_one(
    lengths: Lengths, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(content)
    assert lengths.of("a", lambda: file, never) == 0.0


def test_want_of_disk_is_left_to_others(tmp_path: Path) -> None:
    file = tmp_path / "sound"
    file.write_bytes(wav(noise(1)))
    full = Lengths(DecodeLimits(min_free_bytes=2**60), tmp_path / "lengths", bound_s=BOUND_S)
    assert full.of("a", lambda: file, never) == math.inf
