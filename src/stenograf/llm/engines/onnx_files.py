"""Which of onnx-asr's kinds of model a name or folder is, and where its files are."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from onnx_asr.loader import create_asr_resolver
from onnx_asr.utils import ModelLoadingError

from stenograf.contract.errors import ModelNotFound, Unavailable
from stenograf.llm.models import Report

FOLDER = "onnx_models"
"""Below the data folder: models that were fetched by name."""

_BY_FILE = {
    "v3_e2e_rnnt_encoder*.onnx": "gigaam-v3-e2e-rnnt",
    "v3_e2e_ctc*.onnx": "gigaam-v3-e2e-ctc",
    "v?_rnnt_encoder*.onnx": "gigaam-v2-rnnt",
    "v?_ctc*.onnx": "gigaam-v2-ctc",
    "multilingual*_ctc*.onnx": "gigaam-multilingual-ctc",
    "*/joiner*.onnx": "vosk",
}
_BY_CONFIG = (
    "kaldi-rnnt",
    "nemo-conformer-ctc",
    "nemo-conformer-rnnt",
    "nemo-conformer-tdt",
    "t-one-ctc",
    "vosk",
)
_NO_TIMES = ("whisper", "canary", "aed")
_KINDS = "GigaAM, Vosk, T-one, and NeMo's CTC, RNN-T and TDT models"


@dataclass(frozen=True)
class Files:
    """A model's folder and its kind, one of onnx-asr's names."""

    kind: str
    folder: Path


def find(name: str, quantization: str | None, data_dir: Path, report: Report) -> Files:
    """The files of a folder or of a name that onnx-asr knows; fetched once, then never asked for.

    Raises ModelNotFound or Unavailable in words for whoever set LOCAL_LLM_MODEL.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return Files(_kind(folder), folder)
    if not name or folder.is_absolute() or any(part in name.lower() for part in _NO_TIMES):
        raise _unknown(name)
    label = name.replace("/", "--") + (f".{quantization}" if quantization else "")
    target = data_dir / FOLDER / label
    if not target.is_dir():
        report(0.02, f"Downloading {name}.")
        _fetch(name, quantization, target)
    return Files(_kind(target) if "/" in name else name, target)


def _fetch(name: str, quantization: str | None, target: Path) -> None:
    """Into a folder that appears complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
            got = Path(work) / "model"
            resolver = create_asr_resolver(name, got, offline=False)
            resolver.resolve_model(quantization=quantization)
            if not target.is_dir():
                got.rename(target)
    except RepositoryNotFoundError as exc:
        raise _unknown(name) from exc
    except LocalEntryNotFoundError as exc:
        raise _unreachable(name, target, exc) from exc
    except ModelLoadingError as exc:
        raise _unknown(name, str(exc)) from exc
    except (HfHubHTTPError, OSError, RuntimeError) as exc:
        raise _unreachable(name, target, exc) from exc


def _kind(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        told = str(config.get("model_type"))
    except FileNotFoundError:
        told = ""
    except (OSError, ValueError, AttributeError) as exc:
        raise _unfit(folder, f"its config.json cannot be read: {exc}") from exc
    if told in _BY_CONFIG:
        return told
    kinds = {kind for pattern, kind in _BY_FILE.items() if any(folder.glob(pattern))}
    if len(kinds) > 1:
        raise _unfit(folder, f"it holds {len(kinds)} models: {', '.join(sorted(kinds))}")
    if not kinds:
        raise _unfit(folder, f"none of {_KINDS} is in it")
    return kinds.pop()


def _unfit(folder: Path, why: str) -> ModelNotFound:
    return ModelNotFound(
        f"The folder {folder} (LOCAL_LLM_MODEL) cannot be used with ENGINE=onnx: {why}.",
        hint="Give a folder with one model as onnx-asr has it, or a name such as "
        "gigaam-v3-e2e-rnnt.",
    )


def _unknown(name: str, why: str = "") -> ModelNotFound:
    return ModelNotFound(
        f"There is no ONNX model {name!r} (LOCAL_LLM_MODEL). {why}".strip(),
        hint=f"Give a folder, or a name that onnx-asr knows, such as gigaam-v3-e2e-rnnt: {_KINDS}.",
    )


def _unreachable(name: str, target: Path, exc: Exception) -> Unavailable:
    said = (str(exc).splitlines() or ["no answer"])[0][:200]
    return Unavailable(
        f"The model {name} is not in {target} and could not be fetched from the hub "
        f"({type(exc).__name__}: {said}).",
        hint="Connect this machine once, or copy the model's folder here and name it in "
        "LOCAL_LLM_MODEL.",
    )
