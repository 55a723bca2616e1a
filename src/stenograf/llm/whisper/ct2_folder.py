"""A CTranslate2 model folder: ours, or one converted by anybody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stenograf.llm.whisper.checkpoint import BadCheckpoint
from stenograf.llm.whisper.tokens import BytePairTokenizer
from stenograf.llm.whisper.vocabulary import Vocabulary, build_vocabulary

_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")


@dataclass(frozen=True)
class Ct2Folder:
    """What decoding needs to know beside the weights; lengths in tokens and in encoder frames."""

    folder: Path
    vocabulary: Vocabulary
    knows_timestamps: bool
    max_tokens: int
    max_frames: int


def is_ct2_folder(folder: Path) -> bool:
    """Whether `folder` has CTranslate2's layout."""
    return (folder / "model.bin").is_file() and any(
        (folder / name).is_file() for name in _VOCABULARIES
    )


def open_ct2_folder(folder: Path) -> Ct2Folder:
    """Read the notes and the vocabulary; raises ModelNotFound with what is wrong."""
    notes = _json(folder / "config.json")
    vocabulary = build_vocabulary(
        BytePairTokenizer(folder),
        _vocabulary_size(folder),
        _json(folder / "generation_config.json"),
        {
            "suppress_tokens": notes.get("suppress_ids"),
            "begin_suppress_tokens": notes.get("suppress_ids_begin"),
        },
    )
    return Ct2Folder(
        folder=folder,
        vocabulary=vocabulary,
        knows_timestamps=bool(notes.get("knows_timestamps", True)),
        max_tokens=int(notes.get("max_target_positions", 448)),
        max_frames=int(notes.get("max_source_positions", 1500)),
    )


def _vocabulary_size(folder: Path) -> int:
    listed, lines = (folder / name for name in _VOCABULARIES)
    try:
        if listed.is_file():
            return len(json.loads(listed.read_text(encoding="utf-8")))
        return len(lines.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, TypeError) as exc:
        raise BadCheckpoint(f"The vocabulary in {folder} cannot be read: {exc}") from exc


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise BadCheckpoint(f"{path} cannot be read: {exc}", hint="Convert it again.") from exc
    if not isinstance(body, dict):
        raise BadCheckpoint(f"{path} is not a JSON object.", hint="Convert it again.")
    return body
