"""Waiting for what other threads and processes make true; never for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")


def until(condition: Callable[[], Found], timeout_s: float = 30.0) -> Found:
    """What the condition gives once that is true; the test fails if it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come true in {timeout_s:g} s")
        time.sleep(0.02)
    return found
