"""Checkpoints of 2022: a `.bin`, no generation config, forced ids of another time."""

from pathlib import Path

import numpy as np
import pytest

from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.hf_whisper import HfWhisper, load_hf_whisper
from tests.llm.conftest import tone


def load(folder: Path, data_dir: Path) -> HfWhisper:
    settings = EngineSettings(
        engine="transformers",
        model=str(folder),
        dtype="auto",
        device="cpu",
        threads=2,
        data_dir=data_dir,
        hf_home=data_dir / "hf",
    )
    return load_hf_whisper(settings, lambda progress, detail: None)


def test_loads_and_answers(tiny_old: Path, tmp_path: Path) -> None:
    import time

    t = time.time()
    engine = load(tiny_old, tmp_path)
    print("load", time.time() - t)
    for language in ("ru", "auto"):
        for beam in (1, 3):
            t = time.time()
            options = EngineOptions(decode=DecodeOptions(language=language, beam_size=beam))
            r = engine.transcribe([tone(3.0), tone(7.0)], options)
            print(time.time() - t, r)
