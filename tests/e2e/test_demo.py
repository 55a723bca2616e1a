import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jiwer
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stenograf.demo import edit_distance
from stenograf.services import ServiceFailed, free_ports, running

from ..servers import ROOT, hearing_ctrl_c
from ..waiting import until

words = st.lists(st.sampled_from(["да", "нет", "раз", "два"]), min_size=1, max_size=12)


@given(words, words)
def test_the_demos_word_errors_are_jiwers(expected: list[str], heard: list[str]) -> None:
    reference = jiwer.process_words(" ".join(expected), " ".join(heard))
    errors = reference.substitutions + reference.deletions + reference.insertions
    assert edit_distance(expected, heard) == errors


def test_nothing_heard_is_every_word_wrong() -> None:
    assert edit_distance(["да", "нет"], []) == edit_distance([], ["да", "нет"]) == 2


@contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    with hearing_ctrl_c():
        process = subprocess.Popen(
            [sys.executable, "-m", "stenograf.demo", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def test_the_demo_hears_the_shipped_recordings() -> None:
    with demo() as process:
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert "DEMO model" in out
    names = [path.name for path in sorted((ROOT / "data" / "samples").glob("*.flac"))]
    assert len(names) >= 2
    assert [name for name in names if name in out] == names
    assert len(re.findall(r"\[\d\d:\d\d\.\d{3} - \d\d:\d\d\.\d{3}\] \S", out)) >= len(names)
    rates = [float(rate) for rate in re.findall(r"word error rate ([\d.]+)%", out)]
    assert len(rates) == len(names)
    rate_of = dict(zip(names, rates, strict=True))
    # What the demo model reached, with a little room: worse than this is a broken line.
    assert rate_of.pop("monologue_ru.flac") <= 8
    assert rate_of.pop("call_ru.flac") <= 12
    assert max(rate_of.values()) <= 15


@pytest.mark.parametrize("missing", ["--model", "--samples"])
def test_what_is_missing_is_said_and_nothing_is_started(missing: str, tmp_path: Path) -> None:
    with demo(missing, str(tmp_path)) as process:
        out, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert str(tmp_path) in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_the_demo_ends_its_services_end_with_it(number: signal.Signals) -> None:
    with demo() as process:
        parent = psutil.Process(process.pid)
        children = until(lambda: _both(parent.children(recursive=True)), 60)
        process.send_signal(number)
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=40)
    assert alive == []
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)


def _both(found: list[psutil.Process]) -> list[psutil.Process]:
    return found if len(found) >= 2 else []


def test_a_service_that_cannot_start_says_why() -> None:
    wrong = running({"TORCH_DTYPE": "float3"})
    with pytest.raises(ServiceFailed, match=r"(?is)llm ended.*torch_dtype"), wrong:
        pass


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
