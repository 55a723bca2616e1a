"""A Whisper checkpoint on disk: checked, made safe to load, and completed where it is old."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stenograf.contract.errors import ModelNotFound

if TYPE_CHECKING:
    import torch  # heavy, and needed for pickled weights only

logger = logging.getLogger(__name__)

CONVERTED = "converted_models"  # folder under DATA_DIR of what was converted once
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_POINTER = b"version https://git-lfs.github.com"


class BadCheckpoint(ModelNotFound):
    """The folder is not a Whisper checkpoint that can be loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with config.json, a tokenizer and safetensors weights."""

    folder: Path
    config: Mapping[str, Any]
    generation: Mapping[str, Any]

    @property
    def dtype(self) -> str:
        """Number format that its weights are stored in, as its author says; may be empty."""
        return str(self.config.get("dtype") or self.config.get("torch_dtype") or "")

    @property
    def knows_timestamps(self) -> bool:
        """Whether its author configured timestamps; fine-tunes of 2022 forgot how to write them."""
        return "no_timestamps_token_id" in self.generation


def open_checkpoint(folder: Path, converted: Path) -> Checkpoint:
    """Check the model in `folder`; pickled weights are converted once, under `converted`.

    Raises BadCheckpoint with what is wrong and what to do.
    """
    config = _json(folder / "config.json")
    if config is None:
        raise BadCheckpoint(
            f"There is no config.json in {folder}, so this is no Hugging Face model folder.",
            hint="Set LOCAL_LLM_MODEL to a Whisper checkpoint: a hub id or a folder.",
        )
    if "model_type" not in config and (folder / "model.bin").is_file():
        raise BadCheckpoint(
            f"{folder} holds a CTranslate2 model, which only the engine ctranslate2 can load.",
            hint="Set ENGINE=ctranslate2 or auto, or LOCAL_LLM_MODEL to the original checkpoint.",
        )
    if config.get("model_type") != "whisper":
        raise BadCheckpoint(
            f"{folder} holds a model of type {config.get('model_type')!r}, not Whisper.",
            hint="Set LOCAL_LLM_MODEL to a Whisper checkpoint.",
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise BadCheckpoint(
            f"{folder} has no tokenizer (tokenizer.json, or vocab.json and merges.txt).",
            hint="Copy the tokenizer files of the model it was fine-tuned from into it.",
        )
    weights = _weights(folder)
    generation = _json(folder / "generation_config.json") or {}
    if weights.name in PICKLED_WEIGHTS:
        folder = _converted(folder, weights, converted)
    return Checkpoint(folder, config, generation)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise BadCheckpoint(f"{path} cannot be read: {exc}", hint="Fetch the model again.") from exc
    if not isinstance(body, dict):
        raise BadCheckpoint(f"{path} is not a JSON object.", hint="Fetch the model again.")
    return body


def _weights(folder: Path) -> Path:
    for name in (*SAFE_WEIGHTS, *PICKLED_WEIGHTS):
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise BadCheckpoint(
                    f"{path} is a Git LFS pointer, not the weights themselves.",
                    hint="Run `git lfs pull` in that folder, or fetch the model again.",
                )
        return path
    raise BadCheckpoint(
        f"{folder} has no weights (model.safetensors or pytorch_model.bin).",
        hint="Fetch the model again.",
    )


def _converted(folder: Path, weights: Path, parent: Path) -> Path:
    """The same checkpoint with safetensors, converted now unless it was before."""
    stamp = weights.resolve().stat()
    identity = f"{weights.resolve()} {stamp.st_size} {stamp.st_mtime_ns}"
    target = parent / f"{folder.name}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if target.is_dir():
        return target
    logger.info("converting %s to safetensors, once", weights)
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=parent))
    try:
        for path in folder.iterdir():
            if path.suffix in (".json", ".txt") and path.name not in PICKLED_WEIGHTS:
                shutil.copyfile(path, work / path.name)
        _convert(weights, work)
        work.chmod(0o755)
        work.rename(target)
    except OSError:
        if not target.is_dir():  # somebody else may have been first
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _convert(weights: Path, target: Path) -> None:
    """Write the tensors of a pickled checkpoint as safetensors; nothing in it is executed."""
    index = _json(weights) if weights.suffix == ".json" else None
    if index is None:
        _save(_load(weights), target / "model.safetensors")
        return
    shards = sorted(set(index["weight_map"].values()))
    names = {
        shard: f"model-{i:05}-of-{len(shards):05}.safetensors" for i, shard in enumerate(shards, 1)
    }
    kept: dict[str, str] = {}
    for shard, name in names.items():
        if Path(shard).name != shard:
            raise BadCheckpoint(f"{weights} names a file outside its folder: {shard!r}.")
        kept.update(dict.fromkeys(_save(_load(weights.parent / shard), target / name), name))
    body = {"metadata": index.get("metadata", {}), "weight_map": kept}
    (target / "model.safetensors.index.json").write_text(json.dumps(body))


def _load(path: Path) -> "dict[str, torch.Tensor]":
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as exc:
        raise BadCheckpoint(
            f"{path} cannot be loaded safely: {type(exc).__name__}.",
            hint="It is damaged or holds more than tensors. Use a copy with model.safetensors.",
        ) from exc
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    tensors = {k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise BadCheckpoint(f"{path} holds no tensors.", hint="Fetch the model again.")
    return tensors


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _save(tensors: "Mapping[str, torch.Tensor]", path: Path) -> list[str]:
    """Save tensors, those that share memory (tied embeddings) once; the names that were kept."""
    from safetensors.torch import save_file

    kept: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0] == "proj_out.weight"):
        if tensor.data_ptr() in seen and tensor.numel():
            continue
        seen.add(tensor.data_ptr())
        kept[name] = tensor.contiguous()
    save_file(kept, path, metadata={"format": "pt"})
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return list(kept)
