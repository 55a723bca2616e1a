"""Chooses and loads the engine: the one that the settings name, or with `auto` the fastest here.

An engine that is named is never replaced. `auto` goes on to the next only where an engine says
that it cannot run this model on this machine, and tells so in the log and in `/health`.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from stenograf.llm.engines.base import Engine, EngineUnfit
from stenograf.llm.engines.fake import FakeEngine
from stenograf.llm.models import EngineFactory, Report

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "native", "ctranslate2", "transformers", "onnx", "fake"]
Choice = tuple[EngineName, str]
"""An engine, and why it is taken."""

_LOADERS: dict[EngineName, tuple[str, str]] = {
    "native": ("stenograf.llm.engines.native", "load_native"),
    "ctranslate2": ("stenograf.llm.engines.ctranslate2", "load_ct2_whisper"),
    "transformers": ("stenograf.llm.engines.hf_whisper", "load_hf_whisper"),
    "onnx": ("stenograf.llm.engines.onnx", "load_onnx"),
}


@dataclass(frozen=True)
class EngineSettings:
    """What an engine needs to know; `reason` says why this one was chosen."""

    engine: EngineName
    model: str
    dtype: str
    device: str
    threads: int
    data_dir: Path
    hf_home: Path
    fake_delay_s: float = 0.0
    compute_type: str = "auto"
    native_isa: str = ""
    native_margin_s: float | None = None
    cuda_graphs: bool = True
    reason: str = "ENGINE names it."


def engine_factory(settings: EngineSettings) -> EngineFactory:
    """A factory for `settings`; heavy libraries are imported only when it runs."""

    def load(report: Report) -> Engine:
        if settings.engine == "fake":
            return FakeEngine(delay_s=settings.fake_delay_s)
        report(0.01, "Loading libraries.")
        if settings.engine == "auto":
            return _load_first(settings, report)
        return _load(settings, report)

    return load


def choices(settings: EngineSettings) -> Iterator[Choice]:
    """The engines to try for ENGINE=auto, best first."""
    folder = Path(settings.model).expanduser()
    if (folder / "model.bin").is_file():
        yield "ctranslate2", "The model is in CTranslate2's layout."
    elif _is_onnx(folder):
        yield "onnx", "The model is in ONNX."
    elif settings.compute_type != "auto":
        yield "ctranslate2", f"COMPUTE_TYPE={settings.compute_type} asks for it."
    elif settings.dtype != "auto":
        yield "transformers", f"TORCH_DTYPE={settings.dtype} asks for it."
    elif settings.device.startswith("cuda") or (settings.device == "auto" and _sees_gpu()):
        yield "transformers", "There is an NVIDIA GPU."
    else:
        yield "native", "The fastest on this CPU: int8 arithmetic of our own library."
        yield "ctranslate2", "On a CPU its int8 arithmetic is faster than PyTorch."
        yield "transformers", "It runs everywhere."


def _load_first(settings: EngineSettings, report: Report) -> Engine:
    passed: list[str] = []
    for engine, why in choices(settings):
        reason = " ".join([why, *passed])
        try:
            loaded = _load(replace(settings, engine=engine, reason=reason), report)
        except EngineUnfit as exc:
            logger.warning("engine %s is not used: %s", engine, exc.message)
            passed.append(f"Not {engine}: {exc.message}")
            last = exc
        else:
            logger.info("engine %s chosen: %s", engine, reason)
            return loaded
    raise last


def _load(settings: EngineSettings, report: Report) -> Engine:
    module, function = _LOADERS[settings.engine]
    try:
        load: Callable[[EngineSettings, Report], Engine] = getattr(import_module(module), function)
    except ImportError as exc:
        raise EngineUnfit(
            f"It is not installed ({exc.name or exc}).",
            hint="Install the requirements of the model service, or set ENGINE=auto.",
        ) from exc
    return load(settings, report)


def _is_onnx(folder: Path) -> bool:
    """Whether the folder has graphs, and no weights that another engine reads."""
    if any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
        return False
    return any(folder.glob("*.onnx")) or any(folder.glob("*/joiner*.onnx"))


def _sees_gpu() -> bool:
    if find_spec("ctranslate2") is not None:  # answers much sooner than PyTorch
        import ctranslate2

        return bool(ctranslate2.get_cuda_device_count())
    import torch

    return bool(torch.cuda.is_available())
