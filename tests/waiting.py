"""Waiting for what other threads and processes make true; never for ever."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

Found = TypeVar("Found")


def until(condition: Callable[[], Found], timeout_s: float = 60.0) -> Found:
    """What the condition gives once that is true; the test fails if it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come true in {timeout_s:g} s")
        time.sleep(0.02)
    return found


def all_at_once(count: int, work: Callable[[int], Found]) -> list[Found]:
    """What `work(0)`, `work(1)` … give, each in a thread of its own; raises what one raises."""
    with ThreadPoolExecutor(count) as pool:
        return [each.result(150) for each in [pool.submit(work, n) for n in range(count)]]
