"""What the first version's sender does, and its sound processing alone."""

from pathlib import Path

import numpy as np

from bench.seed import reproduction

Windows = list[tuple[float, float]]


def send(path: Path, url: str) -> Windows:
    """Send a WAV file; it is cut every 30 s, which the caller knows without being told."""
    reproduction.front(url, path)
    return []


def process(path: Path) -> None:
    """Resample and normalize the whole recording."""
    mono, rate = reproduction.read(path)
    fixed = reproduction.Input(user_id="", chunk=[], original_sr=rate, target_dB=-20)
    reproduction.processed(mono.astype(np.float64), fixed)
