"""The engine's own process, through the front door of the service and at its seam."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from tests.llm.engine_settings import engine_settings

from stenograf.contract.errors import Cancelled, OutOfResources, StenografError
from stenograf.llm.app import create_app
from stenograf.llm.engines.base import EngineOptions, Stop
from stenograf.llm.engines.child import ChildEngine, child_engine_factory
from stenograf.llm.engines.factory import EngineSettings
from stenograf.settings import LlmSettings

NOISE = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)


def settings(tmp_path: Path, **changes: Any) -> EngineSettings:
    return replace(engine_settings("fake", "fake", tmp_path), **changes)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ChildEngine]]:
    engines: list[ChildEngine] = []

    def build(**changes: object) -> ChildEngine:
        engine = child_engine_factory(settings(tmp_path, **changes))(quiet)
        assert isinstance(engine, ChildEngine)
        engines.append(engine)
        return engine

    yield build
    for engine in engines:
        engine.close()


def quiet(share: float, detail: str) -> None:
    """Nobody watches the loading."""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def killing(engine: ChildEngine, number: signal.Signals) -> Stop:
    """Asked whether somebody still waits, while the process works, it kills the process."""

    def kill() -> bool:
        os.kill(engine.pid, number)
        return False

    return kill


def test_it_answers_as_the_engine_in_it(start: Callable[..., ChildEngine]) -> None:
    engine = start()
    [result] = engine.transcribe([NOISE], EngineOptions())
    assert result.segments
    assert engine.capabilities.model == "fake"


def test_rest_ends_the_process_and_the_next_request_loads_again(
    start: Callable[..., ChildEngine],
) -> None:
    engine = start()
    before = engine.transcribe([NOISE], EngineOptions())
    pid = engine.pid
    engine.rest()
    assert gone(pid)
    assert not engine.loaded
    assert engine.transcribe([NOISE], EngineOptions()) == before
    assert engine.loaded


def test_a_killed_process_costs_one_batch_and_says_why(start: Callable[..., ChildEngine]) -> None:
    engine = start(fake_delay_s=60.0)
    with pytest.raises(OutOfResources, match="memory"):
        engine.transcribe([NOISE], EngineOptions(), killing(engine, signal.SIGKILL))
    assert not engine.loaded


def test_a_crash_is_told_from_a_lack_of_memory(start: Callable[..., ChildEngine]) -> None:
    engine = start(fake_delay_s=60.0)
    with pytest.raises(StenografError, match="unexpectedly") as failure:
        engine.transcribe([NOISE], EngineOptions(), killing(engine, signal.SIGSEGV))
    assert not isinstance(failure.value, OutOfResources)


def test_who_gave_up_is_let_go_and_the_next_answer_is_the_right_one(
    start: Callable[..., ChildEngine],
) -> None:
    engine = start(fake_delay_s=30.0)
    began = time.monotonic()
    with pytest.raises(Cancelled):
        engine.transcribe([NOISE], EngineOptions(), lambda: time.monotonic() - began > 0.3)
    assert time.monotonic() - began < 20
    assert engine.loaded
    began = time.monotonic()
    with pytest.raises(Cancelled):
        engine.transcribe([NOISE], EngineOptions(), lambda: time.monotonic() - began > 0.3)


def test_a_process_that_hangs_is_ended_and_the_next_request_loads_again(tmp_path: Path) -> None:
    engine = ChildEngine(settings(tmp_path, fake_delay_s=0.2), quiet, hung_after_s=0.5)
    try:
        os.kill(hung := engine.pid, signal.SIGSTOP)
        with pytest.raises(Cancelled):
            engine.transcribe([NOISE], EngineOptions(), lambda: True)
        assert gone(hung)
        [result] = engine.transcribe([NOISE], EngineOptions())
        assert result.segments
    finally:
        engine.close()


def test_what_cannot_be_loaded_is_told_in_its_own_words(tmp_path: Path) -> None:
    missing = settings(tmp_path, engine="transformers", model=str(tmp_path / "nothing"))
    with pytest.raises(StenografError, match="nothing") as failure:
        child_engine_factory(missing)(quiet)
    assert failure.type is not StenografError


def test_the_process_ends_when_the_service_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from stenograf.llm.engines.child import ChildEngine\n"
        "from stenograf.llm.engines.factory import EngineSettings\n"
        "s = EngineSettings('fake', 'fake', 'auto', 'cpu', 1, Path('.'), Path('.'))\n"
        "e = ChildEngine(s, lambda a, b: None); print(e.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(pid)


def test_an_idle_model_rests_and_wakes_for_a_request(tmp_path: Path) -> None:
    values = LlmSettings(engine="fake", data_dir=tmp_path, model_keep_alive_s=0.5, _env_file=None)  # type: ignore[call-arg]
    with TestClient(create_app(values)) as http:
        assert wait_for(http, "resting")
        assert http.get("/ready").status_code == 200
        answer = http.post("/inference/", json={"chunk": NOISE.tolist()})
        assert answer.status_code == 200, answer.text
        assert answer.json()["response"]
        assert wait_for(http, "resting")


def wait_for(http: TestClient, state: str) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if http.get("/v1/models").json()["data"][0]["state"] == state:
            return True
        time.sleep(0.05)
    return False
