"""What the tests give an engine."""

from pathlib import Path
from typing import Any

from stenograf.llm.engines.factory import EngineName, EngineSettings


def engine_settings(
    engine: EngineName, model: str | Path, data_dir: Path, **changes: Any
) -> EngineSettings:
    """On the CPU, in one thread: PyTorch's wait for each other where cores are shared."""
    given: dict[str, Any] = {
        "dtype": "auto",
        "device": "cpu",
        "threads": 1,
        "hf_home": data_dir / "hf",
    }
    return EngineSettings(engine=engine, model=str(model), data_dir=data_dir, **given | changes)
