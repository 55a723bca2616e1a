"""Tensors of a safetensors checkpoint as numpy arrays, one at a time, without a framework."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.errors import ModelNotFound
from stenograf.llm.whisper.checkpoint import SAFE_WEIGHTS

_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100 * 1024**2


class Weights:
    """The tensors of a checkpoint folder by name; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelNotFound for files that are missing or damaged."""
        self._folder = folder
        self._tensors: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in _files(folder):
            for name, (offset, entry) in _header(path):
                self._tensors[name] = (path, offset, entry)

    def names(self) -> list[str]:
        """Every tensor's name."""
        return sorted(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, in its own shape; raises ModelNotFound if it is not there."""
        if name not in self._tensors:
            raise ModelNotFound(
                f"The weights in {self._folder} lack tensors, {name} first.",
                hint="The files are incomplete; fetch the model again.",
            )
        path, offset, entry = self._tensors[name]
        first, behind = entry["data_offsets"]
        with path.open("rb") as file:
            file.seek(offset + first)
            body = file.read(behind - first)
        try:
            stored = np.frombuffer(body, dtype=_TYPES[entry["dtype"]]).reshape(entry["shape"])
        except (KeyError, ValueError) as exc:
            raise _damaged(path, f"tensor {name}: {exc}") from exc
        if entry["dtype"] == "BF16":
            widened = stored.astype(np.uint32) << np.uint32(16)
            return widened.view(np.float32)
        return stored.astype(np.float32)


def _files(folder: Path) -> list[Path]:
    whole, index = (folder / name for name in SAFE_WEIGHTS)
    if whole.is_file():
        return [whole]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _damaged(index, str(exc)) from exc
    if any(Path(name).name != name for name in names):
        raise _damaged(index, "it names a file outside its folder")
    return [folder / name for name in names]


def _header(path: Path) -> Iterator[tuple[str, tuple[int, dict[str, Any]]]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            entries = json.loads(file.read(length))
        for name, entry in entries.items():
            if name != "__metadata__":
                first, behind = entry["data_offsets"]
                if not 0 <= first <= behind <= path.stat().st_size - length - _LENGTH_BYTES:
                    raise ValueError(f"tensor {name} lies outside the file")
                yield name, (_LENGTH_BYTES + length, entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _damaged(path, str(exc)) from exc


def _damaged(path: Path, why: str) -> ModelNotFound:
    return ModelNotFound(
        f"The weights in {path} cannot be loaded: {why}",
        hint="The file is damaged or incomplete; fetch the model again.",
    )
