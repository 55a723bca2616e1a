"""Chooses and loads the engine that the settings name; nothing else ever takes its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stenograf.llm.engines.base import Engine
from stenograf.llm.engines.fake import FakeEngine
from stenograf.llm.models import EngineFactory, Report


@dataclass(frozen=True)
class EngineSettings:
    """What an engine needs to know."""

    engine: Literal["transformers", "ctranslate2", "fake"]
    model: str
    dtype: str
    device: str
    threads: int
    data_dir: Path
    hf_home: Path
    fake_delay_s: float = 0.0
    compute_type: str = "auto"


def engine_factory(settings: EngineSettings) -> EngineFactory:
    """A factory for `settings`; heavy libraries are imported only when it runs."""

    def load(report: Report) -> Engine:
        if settings.engine == "fake":
            return FakeEngine(delay_s=settings.fake_delay_s)
        report(0.01, "Loading libraries.")
        if settings.engine == "ctranslate2":
            from stenograf.llm.engines.ctranslate2 import load_ct2_whisper

            return load_ct2_whisper(settings, report)
        from stenograf.llm.engines.hf_whisper import load_hf_whisper

        return load_hf_whisper(settings, report)

    return load
