"""A converted model as a folder to carry along, for `stenograf models convert`."""

from pathlib import Path

from stenograf.contract.errors import StenografError
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.convert import Storage, publish
from stenograf.llm.whisper.ct2_folder import is_ct2_folder
from stenograf.llm.whisper.hub import Report, locate
from stenograf.llm.whisper.loading import load_heads, load_vocabulary


def carry(name: str, parent: Path, storage: Storage, cache: Path, report: Report) -> Path:
    """Convert model `name`, a folder or hub id, into a new folder of `parent`; gives its path.

    `cache` holds what is downloaded. Raises StenografError in words for the user.
    """
    folder = locate(name, cache, report)
    if is_ct2_folder(folder):
        raise StenografError(
            f"{folder} is in CTranslate2's layout already.", hint="Name it in LOCAL_LLM_MODEL."
        )
    plain = name.rstrip("/").rsplit("/", 1)[-1]
    target = parent / f"{plain}-ct2-{storage}"
    if target.exists():
        raise StenografError(
            f"{target} is there already.", hint="Remove it to convert the model again."
        )
    parent.mkdir(parents=True, exist_ok=True)
    checkpoint = open_checkpoint(folder, cache / "converted_models")
    vocabulary = load_vocabulary(checkpoint)
    publish(checkpoint, vocabulary, load_heads(checkpoint, vocabulary), storage, target)
    return target
