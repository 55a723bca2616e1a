"""Decoding in a folder of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stenograf.audio.decode import Decoded, DecodeLimits, decode
from stenograf.audio.spool import Spool
from stenograf.contract.pcm import Waveform

LIMITS = DecodeLimits(timeout_s=60, max_duration_s=3600, min_free_bytes=0)


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[..., tuple[Decoded, Waveform]]:
    """Decode bytes: `decoded(body, timeout_s=1)` gives the result and the whole waveform."""

    def run(body: bytes, **limits: Any) -> tuple[Decoded, Waveform]:
        source, spool = tmp_path / "source", tmp_path / "spool"
        source.write_bytes(body)
        result = decode(source, spool, replace(LIMITS, **limits))
        with Spool(spool) as opened:
            return result, opened.read(0, opened.n_samples)

    return run
