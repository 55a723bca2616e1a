import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from tests.waiting import all_at_once, until

from stenograf.contract.errors import (
    Cancelled,
    OutOfResources,
    Overloaded,
    StenografError,
    Unavailable,
)
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import Waveform
from stenograf.llm.batcher import Batcher
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    Stop,
    WindowResult,
    never,
)

RU = EngineOptions()
EN = EngineOptions(decode=DecodeOptions(language="en"))
POISON = 666


class Recorder:
    """An engine that notes its batches, waits while its gate is shut, and chokes on POISON."""

    def __init__(self) -> None:
        self.capabilities = Capabilities(model="recorder", languages=("ru", "en"))
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.error: Exception = ValueError("poison")

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        sizes = [window.shape[0] for window in windows]
        self.batches.append(sizes)
        self.entered.set()
        while not self.gate.wait(0.005):
            if stop():
                raise Cancelled("stopped")
        if POISON in sizes:
            raise self.error
        return [WindowResult(language=str(size)) for size in sizes]

    def close(self) -> None:
        pass


def window(size: int) -> Waveform:
    return np.zeros(size, dtype=np.float32)


@pytest.fixture
def engine() -> Iterator[Recorder]:
    engine = Recorder()
    yield engine
    engine.gate.set()


def hold(batcher: Batcher, engine: Recorder) -> None:
    """Give the engine a window to be busy with, so that what follows queues up."""
    batcher.submit(window(1), RU)
    assert engine.entered.wait(30)


def test_equal_options_share_a_batch_in_order_of_arrival(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=4)
    hold(batcher, engine)
    pending = [
        batcher.submit(window(size), options)
        for size, options in [(2, RU), (3, EN), (4, RU), (5, RU), (6, EN), (7, RU), (8, RU)]
    ]
    engine.gate.set()
    assert [p.result(30).language for p in pending] == ["2", "3", "4", "5", "6", "7", "8"]
    assert engine.batches == [[1], [2, 4, 5, 7], [3, 6], [8]]
    batcher.close()


def test_an_idle_engine_begins_at_once_and_with_one(engine: Recorder) -> None:
    engine.gate.set()
    batcher = Batcher(engine, max_batch=3, max_wait_s=30)
    assert batcher.submit(window(2), RU).result(20).language == "2"
    assert engine.batches == [[2]]
    batcher.close()


def batch_of_three(batcher: Batcher, engine: Recorder) -> float:
    """Gives a moment before its end."""
    hold(batcher, engine)
    pending = [batcher.submit(window(size), RU) for size in (2, 3, 4)]
    before = time.monotonic()
    engine.gate.set()
    for p in pending:
        p.result(30)
    assert engine.batches.pop() == [2, 3, 4]
    return before


def test_who_was_answered_just_now_may_come_back_into_one_batch(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=3, max_wait_s=20)
    batch_of_three(batcher, engine)
    pending = []
    for size in (5, 6, 7):
        pending.append(batcher.submit(window(size), RU))
        time.sleep(0.05)
    for p in pending:
        p.result(10)  # a full batch does not wait for the end of the 20 s
    assert engine.batches[-1] == [5, 6, 7]
    batcher.close()


def test_but_a_batch_does_not_wait_for_them_for_ever(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=3, max_wait_s=1.0)
    before_its_end = batch_of_three(batcher, engine)
    assert batcher.submit(window(5), RU).result(30).language == "5"
    assert engine.batches[-1] == [5]
    assert time.monotonic() - before_its_end > 0.9
    assert batcher.submit(window(6), RU).result(30).language == "6"
    batcher.close()


def test_a_full_batch_does_not_wait(engine: Recorder) -> None:
    engine.gate.set()
    batcher = Batcher(engine, max_batch=1, max_wait_s=30)
    assert batcher.submit(window(2), RU).result(30).language == "2"
    batcher.close()


def test_a_poisoned_window_fails_alone(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=8)
    hold(batcher, engine)
    good, bad, other = (batcher.submit(window(size), RU) for size in (2, POISON, 3))
    engine.gate.set()
    assert (good.result(30).language, other.result(30).language) == ("2", "3")
    with pytest.raises(StenografError, match="failed on this window"):
        bad.result(30)
    assert engine.batches == [[1], [2, POISON, 3], [2], [POISON], [3]]
    batcher.close()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
)
def test_memory_that_runs_out_is_named(engine: Recorder, error: Exception) -> None:
    engine.gate.set()
    engine.error = error
    batcher = Batcher(engine)
    with pytest.raises(OutOfResources):
        batcher.submit(window(POISON), RU).result(30)
    assert batcher.submit(window(2), RU).result(30).language == "2"
    batcher.close()


def test_a_caller_that_gave_up_is_not_computed_and_leaves_room(engine: Recorder) -> None:
    batcher = Batcher(engine, queue_size=1)
    hold(batcher, engine)
    gone = batcher.submit(window(2), RU)
    assert gone.cancel()
    stays = batcher.submit(window(3), RU)
    engine.gate.set()
    assert stays.result(30).language == "3"
    assert engine.batches == [[1], [3]]
    batcher.close()


def test_giving_up_reaches_the_window_that_is_being_computed(engine: Recorder) -> None:
    batcher = Batcher(engine)
    pending = batcher.submit(window(2), RU)
    assert engine.entered.wait(30)
    pending.cancel()
    with pytest.raises(Cancelled):
        pending.result(30)
    batcher.close()


def test_a_batch_goes_on_while_one_caller_still_waits(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=2)
    hold(batcher, engine)
    gone, stays = batcher.submit(window(2), RU), batcher.submit(window(3), RU)
    engine.entered.clear()
    engine.gate.set()
    assert stays.result(30).language == "3"
    gone.cancel()
    batcher.close()


def test_a_full_queue_refuses_and_says_when_to_come_back(engine: Recorder) -> None:
    batcher = Batcher(engine, queue_size=3)
    hold(batcher, engine)
    for size in (2, 3, 4):
        batcher.submit(window(size), RU)
    with pytest.raises(Overloaded) as refused:
        batcher.submit(window(5), RU)
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 4  # four windows ahead of it
    engine.gate.set()
    batcher.close()


def test_close_refuses_what_waits_and_what_comes(engine: Recorder) -> None:
    batcher = Batcher(engine)
    hold(batcher, engine)
    waiting = batcher.submit(window(2), RU)
    batcher.close()
    with pytest.raises(Unavailable):
        waiting.result(30)
    with pytest.raises(Unavailable):
        batcher.submit(window(3), RU)
    batcher.close()
    assert engine.batches == [[1]]


def test_a_hundred_callers_at_once_each_get_their_own(engine: Recorder) -> None:
    engine.gate.set()
    batcher = Batcher(engine, queue_size=200, max_batch=7, max_wait_s=0.01)

    def ask(n: int) -> str:
        return batcher.submit(window(n + 1), (RU, EN)[n % 2]).result(90).language

    assert all_at_once(100, ask) == [str(size) for size in range(1, 101)]
    assert max(map(len, engine.batches)) <= 7
    batcher.close()


class Small(Recorder):
    """Memory for `room` windows at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.gate.set()

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        results = super().transcribe(windows, options, stop)
        if len(windows) > self.room:
            raise MemoryError
        return results


def test_a_batch_too_large_for_memory_is_halved_until_it_fits_and_stays_so() -> None:
    engine = Small(room=2)
    engine.gate.clear()
    batcher = Batcher(engine, max_batch=8)
    hold(batcher, engine)
    first = [batcher.submit(window(size), RU) for size in range(2, 10)]
    second = [batcher.submit(window(size), RU) for size in range(10, 14)]
    engine.gate.set()
    assert [p.result(30).language for p in first + second] == [str(size) for size in range(2, 14)]
    assert [len(batch) for batch in engine.batches] == [1, 8, 4, 2, 2, 4, 2, 2, 2, 2]
    batcher.close()


def test_a_larger_batch_is_tried_again_after_a_while() -> None:
    engine = Small(room=1)
    engine.gate.clear()
    batcher = Batcher(engine, max_batch=2, queue_size=100)
    hold(batcher, engine)
    pending = [batcher.submit(window(size), RU) for size in range(2, 4)]
    engine.gate.set()
    for p in pending:
        p.result(30)
    engine.room = 2
    engine.gate.clear()
    pending = [batcher.submit(window(size), RU) for size in range(4, 64)]
    engine.gate.set()
    for p in pending:
        p.result(30)
    assert len(engine.batches[-1]) == 2
    batcher.close()


def test_windows_of_one_length_go_together(engine: Recorder) -> None:
    batcher = Batcher(engine, max_batch=3)
    hold(batcher, engine)
    sizes = [100, 9000, 110, 9100, 120, 9200]
    pending = [batcher.submit(window(size), RU) for size in sizes]
    engine.gate.set()
    for p in pending:
        p.result(30)
    assert engine.batches[1:] == [[100, 110, 120], [9000, 9100, 9200]]
    batcher.close()


def test_it_says_once_that_nothing_comes_any_more(engine: Recorder) -> None:
    rests: list[float] = []
    engine.gate.set()
    batcher = Batcher(engine, idle_s=0.1, on_idle=lambda: rests.append(time.monotonic()))
    for number in (1, 2):
        until(lambda number=number: len(rests) >= number)
        time.sleep(0.3)
        assert len(rests) == number
        batcher.submit(window(3), RU).result(30)
    batcher.close()
