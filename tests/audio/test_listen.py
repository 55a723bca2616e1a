"""What is found while a recording is still decoded is what is found in the whole of it."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.audio.growing import GrowingSpool
from stenograf.audio.listen import Found, listen
from stenograf.audio.spool import SAMPLE_BYTES, Spool, SpoolWriter
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import cut, quietest_in
from stenograf.contract.errors import UndecodableAudio
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

from ..waiting import until
from .sounds import babble


@pytest.fixture(scope="module")
def detector() -> VoiceDetector:
    return VoiceDetector()


@pytest.fixture(scope="module")
def recording() -> Waveform:
    """Two minutes of babble in phrases, with pauses between them."""
    waveform = babble(120, seed=2).astype(np.float32)
    rng = np.random.default_rng(1)
    position_s = 0.0
    while position_s < 120:
        position_s += rng.uniform(2, 9)
        pause_s = rng.choice([0.8, 1.5, 3.0, 12.0])
        waveform[round(position_s * SAMPLE_RATE) : round((position_s + pause_s) * SAMPLE_RATE)] = 0
        position_s += pause_s
    return waveform


def _spool(path: Path, waveform: Waveform) -> Path:
    with path.open("wb") as file:
        SpoolWriter(file.fileno()).append(waveform)
    return path


@settings(max_examples=15)
@given(
    cuts=st.lists(st.floats(0, 1), max_size=12),
    chunk_size_s=st.integers(3, 30),
    vad=st.booleans(),
    gain=st.sampled_from([0.3, 1.0]),
)
def test_joined_it_equals_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    detector: VoiceDetector,
    recording: Waveform,
    cuts: list[float],
    chunk_size_s: int,
    vad: bool,
    gain: float,
) -> None:
    options = CutOptions(chunk_size_s=chunk_size_s, vad=vad)
    blocks = np.split(recording, sorted(int(cut * len(recording)) for cut in cuts))
    path = _spool(tmp_path_factory.mktemp("spool") / "sound", recording)
    with Spool(path) as spool:
        found = list(listen(blocks, detector, options, quietest_in(spool), gain))
        spans = detector.spans([recording], options, gain)
        windows = cut(spans, len(recording), options, quietest_in(spool))
    assert [window for each in found for window in each.windows] == windows
    assert [span for each in found for span in each.spans] == (spans if vad else [])
    assert len(windows) > 2


def test_windows_come_while_the_recording_is_still_written(
    tmp_path: Path, detector: VoiceDetector, recording: Waveform
) -> None:
    options = CutOptions(chunk_size_s=10)
    half = len(recording) // 2
    spool = GrowingSpool()
    found: list[Found] = []

    def read() -> None:
        found.extend(listen(spool.blocks(), detector, options, quietest_in(spool)))

    with (tmp_path / "sound.part").open("w+b") as file:
        writer = SpoolWriter(file.fileno())
        spool.begin(file.fileno())
        reader = threading.Thread(target=read)
        reader.start()
        writer.append(recording[:half])
        spool.grown(half)
        until(lambda: any(each.windows for each in found))
        writer.append(recording[half:])
        spool.end(len(recording))
        reader.join(90)
    spool.close()
    with Spool(_spool(tmp_path / "sound", recording)) as whole:
        windows = cut(
            detector.spans([recording], options), len(recording), options, quietest_in(whole)
        )
    assert [window for each in found for window in each.windows] == windows


def test_only_what_is_reported_and_written_is_read(tmp_path: Path) -> None:
    path = _spool(tmp_path / "sound", np.arange(100, dtype=np.float32))
    spool = GrowingSpool()
    fd = os.open(path, os.O_RDONLY)
    spool.begin(fd)
    os.close(fd)
    blocks = spool.blocks(40)
    spool.grown(50)
    assert [len(next(blocks)) for _ in range(2)] == [40, 10]
    assert len(spool.read(0, 1000)) == 50
    spool.grown(10**9)
    assert spool.n_samples == path.stat().st_size // SAMPLE_BYTES
    assert next(blocks)[0] == 50
    spool.fail(UndecodableAudio("broken"))
    with pytest.raises(UndecodableAudio, match="broken"):
        next(blocks)
    spool.close()
