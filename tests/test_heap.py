"""Freed blocks are used again instead of being fetched from the kernel."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import numpy as np
from stenograf.heap import keep_freed_memory

if {keep}:
    keep_freed_memory()
for round in range(100):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(size, np.uint8) for size in (600_000, 900_000, 1_200_000, 1_100_000)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(keep: bool) -> int:
    command = [sys.executable, "-c", _FAULTS.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc's malloc")
def test_blocks_that_come_and_go_cost_no_new_pages() -> None:
    assert _page_faults(keep=True) < 1_000 < _page_faults(keep=False)
