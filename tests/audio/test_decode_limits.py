"""What a file may cost, and what becomes of the process that decodes it."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from stenograf.audio.decode import decode
from stenograf.contract.errors import (
    BadRequest,
    Cancelled,
    DecodeLimitExceeded,
    Gone,
    OutOfResources,
    StenografError,
    UndecodableAudio,
)

from ..waiting import until
from .conftest import LIMITS
from .sounds import wav


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """18 hours of silence in a sparse file: decoding takes long and is always interrupted."""
    path = tmp_path / "endless.wav"
    path.write_bytes(wav(b"", data_bytes=2**31 - 64))
    os.truncate(path, 2**31)
    return path


def test_a_recording_may_be_decoded_in_part(endless: Path) -> None:
    decoded = decode(endless, endless.parent / "spool", replace(LIMITS, stop_after_s=12.0))
    assert 12 <= decoded.n_samples / 16_000 < 20


_SERVER = "stenograf.audio.decode_server"


def _server() -> psutil.Process | None:
    """What starts decoding processes for this one, if it runs."""
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return next((child for child in alive if _SERVER in " ".join(child.cmdline())), None)


def _children() -> list[psutil.Process]:
    """The decoding processes this one has running."""
    server = _server()
    return server.children() if server is not None else []


def _fails(source: Path, error: type[StenografError], **options: Any) -> StenografError:
    """Decoding raises `error`, ends its process and leaves nothing on the disk."""
    before = set(source.parent.iterdir())
    calls = {name: options.pop(name) for name in ("on_progress", "should_stop") if name in options}
    with pytest.raises(error) as raised:
        decode(source, source.parent / "spool", replace(LIMITS, **options), **calls)
    assert type(raised.value) is error
    assert not _children()
    assert set(source.parent.iterdir()) == before
    return raised.value


def test_a_recording_that_is_too_long(endless: Path) -> None:
    error = _fails(endless, DecodeLimitExceeded, max_duration_s=900)
    assert "0.25 hours" in error.message


def test_a_decoding_that_takes_too_long(endless: Path) -> None:
    started = time.monotonic()
    _fails(endless, DecodeLimitExceeded, timeout_s=0.7, max_duration_s=1e6)
    assert time.monotonic() - started < 30


def test_a_spool_that_would_be_too_large(endless: Path) -> None:
    _fails(endless, DecodeLimitExceeded, max_spool_bytes=1_000_000)


def test_a_disk_that_is_nearly_full(endless: Path) -> None:
    assert _fails(endless, OutOfResources, min_free_bytes=2**60).retry


def test_a_decoding_that_takes_too_much_memory(endless: Path) -> None:
    _fails(endless, DecodeLimitExceeded, memory_bytes=64 * 1024**2)


def test_a_cancelled_decoding_stops_at_once(endless: Path) -> None:
    asked = itertools.count()
    _fails(endless, Cancelled, should_stop=lambda: next(asked) >= 2, max_duration_s=1e6)


def test_an_error_of_the_caller_stops_it_too(endless: Path) -> None:
    def fail(done: int, total: int | None) -> None:
        raise RuntimeError("lost the lease")

    with pytest.raises(RuntimeError, match="lost the lease"):
        decode(endless, endless.parent / "spool", LIMITS, on_progress=fail)
    assert not _children()


@pytest.mark.parametrize(
    ("how", "error"), [(signal.SIGSEGV, UndecodableAudio), (signal.SIGKILL, OutOfResources)]
)
def test_a_crash_is_an_error_of_the_file(
    endless: Path, how: signal.Signals, error: type[StenografError]
) -> None:
    def crash(done: int, total: int | None) -> None:
        for child in _children():
            child.send_signal(how)

    _fails(endless, error, on_progress=crash, max_duration_s=1e6)


def test_progress_tells_what_is_done_and_what_to_expect(endless: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    def enough() -> bool:
        return len(seen) >= 3

    _fails(
        endless,
        Cancelled,
        on_progress=lambda *now: seen.append(now),
        should_stop=enough,
        max_duration_s=1e6,
    )
    done = [now[0] for now in seen]
    assert done == sorted(set(done))
    assert {now[1] for now in seen} == {(2**31 - 64) // 2}


def test_the_process_inherits_no_secrets_and_no_connections(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "very-secret")
    seen: dict[str, Any] = {}

    def look(done: int, total: int | None) -> None:
        if seen:
            return
        child = _children()[0]
        folder = Path("/proc") / str(child.pid)
        seen["environment"] = (folder / "environ").read_bytes()
        seen["open"] = [str(fd.readlink()) for fd in (folder / "fd").iterdir()]
        seen["may_open"] = child.rlimit(psutil.RLIMIT_NOFILE)

    _fails(
        endless,
        Cancelled,
        on_progress=look,
        should_stop=lambda: bool(seen),
        max_duration_s=1e6,
    )
    assert b"very-secret" not in seen["environment"]
    assert len(seen["open"]) == 5  # three standard streams, the source, the spool
    assert not [name for name in seen["open"] if name.startswith("socket")]
    assert seen["may_open"] == (0, 0)


_CONFINED = """
import json, socket, sys
from stenograf.audio import decode_child
from stenograf.audio.task import ChildTask
decode_child._limit_resources(ChildTask(**json.loads(sys.argv[1])))
for attempt in (lambda: open("/etc/hostname"), socket.socket, lambda: open("new", "w")):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""


def test_the_process_can_open_nothing_more(endless: Path) -> None:
    with endless.open("rb") as source, (endless.parent / "s").open("wb") as spool:
        fds = (source.fileno(), spool.fileno())
        task = {
            "source_fd": fds[0], "spool_fd": fds[1], "timeout_s": 9,
            "max_duration_s": 9, "max_spool_bytes": 9, "memory_bytes": 2**30, "min_free_bytes": 0,
        }  # fmt: skip
        answer = subprocess.run(
            [sys.executable, "-c", _CONFINED, json.dumps(task)],
            pass_fds=fds,
            capture_output=True,
            check=True,
        )
    assert answer.stdout.split() == [b"24"] * 3  # EMFILE


def test_the_process_dies_with_its_parent(endless: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stenograf.audio.decode import *;"
        "decode(Path(sys.argv[1]), Path(sys.argv[2]), DecodeLimits(min_free_bytes=0))"
    )
    parent = psutil.Popen(
        [sys.executable, "-c", program, str(endless), str(endless.parent / "spool")]
    )
    until(lambda: len(parent.children(recursive=True)) == 2)
    both = parent.children(recursive=True)
    time.sleep(0.5)  # let them come past their own start
    assert all(process.is_running() for process in both)
    parent.kill()
    parent.wait(60)
    until(lambda: all(map(_ended, both)))


def _ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_recording_does_without_a_server_that_was_killed(
    endless: Path, tmp_path: Path, how: signal.Signals
) -> None:
    def kill(done: int, total: int | None) -> None:
        server = _server()
        if server is not None:
            server.send_signal(how)
            server.wait(60)

    with pytest.raises(OutOfResources):  # not the file's fault, so it is tried again
        decode(endless, tmp_path / "spool", replace(LIMITS, max_duration_s=1e6), on_progress=kill)
    short = tmp_path / "short.wav"
    short.write_bytes(wav(b"\x00\x20" * 1000))
    assert decode(short, tmp_path / "spool", LIMITS).n_samples == 1000


def test_a_worker_that_was_given_up_does_not_disturb_its_successor(
    endless: Path, tmp_path: Path
) -> None:
    spool, short = tmp_path / "spool", tmp_path / "short.wav"
    short.write_bytes(wav(b"\x00\x20" * 1000))
    limits = replace(LIMITS, max_duration_s=1e6)
    given_up = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        old = pool.submit(decode, endless, spool, limits, should_stop=given_up.is_set)
        until(lambda: (tmp_path / "spool.part").exists())
        assert decode(short, spool, limits).n_samples == 1000
        given_up.set()
        with pytest.raises(Cancelled):
            old.result(60)
    assert spool.stat().st_size == 4000
    assert not (tmp_path / "spool.part").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    _fails(tmp_path / "nothing", Gone)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    error = _fails(tmp_path / "empty", UndecodableAudio)
    assert isinstance(error, BadRequest)
    assert "empty" in error.message
