"""From the name of a model to a folder on disk: local first, the network only when it is needed."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from tqdm import tqdm

from stenograf.contract.errors import ModelNotFound, StenografError, Unavailable
from stenograf.llm.whisper.checkpoint import PICKLED_WEIGHTS, SAFE_WEIGHTS

logger = logging.getLogger(__name__)

Report = Callable[[float, str], None]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SMALL_FILES = re.compile(
    r"(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|vocab|normalizer"
    r"|added_tokens|special_tokens_map)\.json|merges\.txt"
)
_TOKENIZERS = ("tokenizer.json", "vocab.json")
_EMBEDDED = "whisper-demo-ru"


def locate(name: str, cache: Path, report: Report, endpoint: str | None = None) -> Path:
    """The folder of model `name`: a folder as it is, a hub id from `cache` or else downloaded.

    A hub id that is complete in the cache causes no network call. Raises ModelNotFound,
    Unavailable or StenografError in words for whoever set LOCAL_LLM_MODEL.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(name) or folder.is_absolute() or name.startswith("data/"):
        raise ModelNotFound(
            f"There is no model folder {name!r} (LOCAL_LLM_MODEL).",
            hint="Give an existing folder, or a hub id such as mitchelldehaven/whisper-medium-ru.",
        )
    cached = _cached(name, cache)
    if cached is not None:
        return cached
    try:
        return _download(name, cache, report, endpoint)
    except (ModelNotFound, Unavailable):
        raise
    except GatedRepoError as exc:
        raise ModelNotFound(
            f"The hub gives {name} only to accounts that accepted its terms.",
            hint="Accept them on its page and set HF_TOKEN.",
        ) from exc
    except RepositoryNotFoundError as exc:
        raise ModelNotFound(
            f"The hub has no model {name!r} (LOCAL_LLM_MODEL).",
            hint="Check the spelling; a private model needs HF_TOKEN.",
        ) from exc
    except (HTTPError, HfHubHTTPError, LocalEntryNotFoundError, OSError, RuntimeError) as exc:
        raise _unreachable(name, cache, exc) from exc


def served_name(name: str) -> str:
    """A folder goes by its own name, a hub id by the whole of it."""
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else name


def is_embedded(folder: Path) -> bool:
    """Whether this is the demo model that comes with the product."""
    return folder.name == _EMBEDDED


def _cached(name: str, cache: Path) -> Path | None:
    """The snapshot in `cache` if everything that loading needs is there."""
    try:
        folder = Path(snapshot_download(name, cache_dir=cache, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    weights = any((folder / file).is_file() for file in (*SAFE_WEIGHTS, *PICKLED_WEIGHTS))
    tokenizer = any((folder / file).is_file() for file in _TOKENIZERS)
    complete = weights and tokenizer and (folder / "config.json").is_file()
    return folder if complete and _shards_present(folder) else None


def _shards_present(folder: Path) -> bool:
    for name in (SAFE_WEIGHTS[1], PICKLED_WEIGHTS[1]):
        index = folder / name
        if index.is_file():
            shards = set(json.loads(index.read_text())["weight_map"].values())
            return all((folder / shard).is_file() for shard in shards)
    return True


def _download(name: str, cache: Path, report: Report, endpoint: str | None) -> Path:
    report(0.02, f"Asking the hub for {name}.")
    info = HfApi(endpoint=endpoint).model_info(name, files_metadata=True, timeout=30)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    wanted = _wanted(name, list(sizes))
    total = sum(sizes[file] for file in wanted) or 1
    counter = _Counter(total, name, report)
    folder = None
    for file in wanted:
        path = hf_hub_download(
            name,
            file,
            revision=info.sha,
            cache_dir=cache,
            endpoint=endpoint,
            tqdm_class=counter.bar(),
        )
        folder = Path(path).parent
    if folder is None:
        raise ModelNotFound(f"The hub's {name} has no files.")
    _remember_main(folder)
    return folder


def _remember_main(folder: Path) -> None:
    """Let the next start find this snapshot under `main` without asking the hub."""
    reference = folder.parents[1] / "refs" / "main"
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(folder.name)


def _wanted(name: str, files: list[str]) -> list[str]:
    """Small files first, weights last: weights in the cache then mean that all is there."""
    if any(file.endswith(".safetensors") and "/" not in file for file in files):
        weights = r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?"
    else:
        weights = r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?"
    small = [file for file in files if _SMALL_FILES.fullmatch(file)]
    large = [file for file in files if re.fullmatch(weights, file)]
    if not large or "config.json" not in small:
        raise ModelNotFound(
            f"The hub's {name} has no PyTorch or safetensors weights.",
            hint="Choose a Whisper checkpoint for transformers.",
        )
    return small + sorted(large, key=lambda file: not file.endswith(".index.json"))


class _Counter:
    """Adds up the bytes of all files and reports them; loading follows from 0.9 on."""

    def __init__(self, total_bytes: int, name: str, report: Report) -> None:
        self._total_bytes = total_bytes
        self._name = name
        self._report = report
        self._got_bytes = 0

    def add(self, got_bytes: float) -> None:
        """Some more bytes have arrived."""
        self._got_bytes += int(got_bytes)
        part = min(1.0, self._got_bytes / self._total_bytes)
        megabytes = f"{self._got_bytes / 1e6:.0f} of {self._total_bytes / 1e6:.0f} MB"
        self._report(0.02 + 0.88 * part, f"Downloading {self._name}: {megabytes}.")

    def bar(self) -> Any:
        """A progress bar class that draws nothing and counts here."""
        counter = self

        class Bar(tqdm):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                counter.add(kwargs.get("initial") or 0)
                kwargs.update(disable=True)
                kwargs.pop("name", None)
                super().__init__(*args, **kwargs)

            def update(self, n: float | None = 1) -> bool | None:
                counter.add(n or 0)
                return None

        return Bar


def _unreachable(name: str, cache: Path, exc: Exception) -> StenografError:
    return Unavailable(
        f"The model {name} is not in {cache} and could not be fetched from the hub "
        f"({type(exc).__name__}: {str(exc).splitlines()[0][:200] if str(exc) else 'no answer'}).",
        hint="Connect this machine once, or copy the model's folder here and name it in "
        "LOCAL_LLM_MODEL.",
    )
