"""`stenograf models pull | convert | verify | list`: model folders for machines without internet.

A pulled model is a plain folder under `data/models` with a `SHA256SUMS` beside its files, in the
form that `sha256sum --check` reads. Name it in LOCAL_LLM_MODEL (`data/models/whisper-medium-ru`)
and the model service starts without a network.
"""

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from stenograf.contract.errors import StenografError
from stenograf.settings import DEFAULT_MODEL, LlmSettings
from stenograf.startup import configured

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from stenograf.llm.whisper.convert import Storage

SUMS = "SHA256SUMS"
FOLDER = Path("data/models")
_BLOCK_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class Verdict:
    """What became of a folder's files, compared with its SHA256SUMS; paths relative to it."""

    good: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Every listed file is as it was, and no other is there."""
        return bool(self.good) and not (self.changed or self.missing or self.unlisted)


def pull(name: str, folder: Path = FOLDER, endpoint: str | None = None) -> Path:
    """Fetch the hub's model `name` into `folder` and give its folder; resumes what was cut off.

    A folder that is already there and whole is left alone. Raises StenografError.
    """
    # the model service's own code chooses the files; it is heavy, so only here
    from stenograf.llm.whisper.hub import locate

    target = folder / name.rstrip("/").rsplit("/", 1)[-1]
    if target.exists():
        if verify(target).whole:
            print(f"{target} is already there and whole")
            return target
        raise StenografError(
            f"{target} is there, but not as it was pulled.",
            hint="Look at it with `stenograf models verify`, remove it, pull again.",
        )
    downloads = folder / f".{target.name}.download"
    snapshot = locate(name, downloads, _show, endpoint)
    if downloads not in snapshot.parents:
        raise StenografError(
            f"{name} is a folder on this machine already.", hint="There is nothing to pull."
        )
    _publish(snapshot, target)
    shutil.rmtree(downloads)
    print(f"{target}: {_size_bytes(target) / 1e6:.0f} MB, LOCAL_LLM_MODEL={target}")
    return target


def convert(name: str, numbers: "Storage", folder: Path = FOLDER) -> Path:
    """Convert a model to CTranslate2's layout as a new folder of `folder`, with checksums.

    Raises StenografError.
    """
    from stenograf.llm.whisper.carry import carry

    cache = configured(LlmSettings).data_dir / "hugging_face_cache" / "hub"
    target = carry(name, folder, numbers, cache, _show)
    _write_sums(target, sorted(path.name for path in target.iterdir()))
    print(f"{target}: {_size_bytes(target) / 1e6:.0f} MB, LOCAL_LLM_MODEL={target}")
    return target


def verify(folder: Path) -> Verdict:
    """Compare a model folder with its SHA256SUMS. Raises StenografError if it has none."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as exc:
        raise StenografError(
            f"{folder} has no {SUMS}, so there is nothing to compare it with.",
            hint="Only folders made by `stenograf models pull` have one.",
        ) from exc
    listed = {line[66:]: line[:64] for line in lines if line}
    present = {path.name for path in folder.iterdir() if path.is_file()} - {SUMS}
    sums = {name: _sha256(folder / name) for name in sorted(listed.keys() & present)}
    return Verdict(
        good=tuple(name for name, found in sums.items() if found == listed[name]),
        changed=tuple(name for name, found in sums.items() if found != listed[name]),
        missing=tuple(sorted(listed.keys() - present)),
        unlisted=tuple(sorted(present - listed.keys())),
    )


def register(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands; each sets `command`, which gives the exit code."""
    parser = commands.add_parser("pull", help="fetch a model into a folder to carry along")
    parser.add_argument("name", nargs="?", help="hub id; default: LOCAL_LLM_MODEL")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument("--endpoint", metavar="URL", help="another hub of the same kind")
    parser.set_defaults(command=_pull)
    parser = commands.add_parser(
        "convert", help="make a folder for ENGINE=ctranslate2, smaller and sooner loaded"
    )
    parser.add_argument("name", nargs="?", help="folder or hub id; default: LOCAL_LLM_MODEL")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument(
        "--numbers",
        choices=["int8", "float16", "float32"],
        default="int8",
        help="how weights are kept: int8 for CPUs (default), float16 for GPUs, float32 exact",
    )
    parser.set_defaults(command=_convert)
    parser = commands.add_parser("verify", help="compare a pulled folder with its checksums")
    parser.add_argument("model", type=Path, metavar="FOLDER")
    parser.set_defaults(command=_verify)
    parser = commands.add_parser("list", help="the model folders that are here")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    parser.set_defaults(command=_list)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`python -m stenograf.models`: exit code 0, 1 if it failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="stenograf models", description=__doc__)
    register(parser.add_subparsers(required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
    except StenografError as error:
        print(f"stenograf: {error.message} {error.hint or ''}".rstrip(), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code)


def _pull(parsed: argparse.Namespace) -> int:
    named = parsed.name or configured(LlmSettings).local_llm_model or DEFAULT_MODEL
    pull(named, parsed.folder, parsed.endpoint)
    return 0


def _convert(parsed: argparse.Namespace) -> int:
    convert(parsed.name or configured(LlmSettings).local_llm_model, parsed.numbers, parsed.folder)
    return 0


def _verify(parsed: argparse.Namespace) -> int:
    verdict = verify(parsed.model)
    for word in ("changed", "missing", "unlisted"):
        for name in getattr(verdict, word):
            print(f"{word}: {parsed.model / name}")
    print(f"{parsed.model}: {'whole' if verdict.whole else 'NOT whole'}")
    return 0 if verdict.whole else 1


def _list(parsed: argparse.Namespace) -> int:
    for folder in sorted(parsed.folder.glob("*/config.json")):
        sums = "with checksums" if (folder.parent / SUMS).is_file() else "without checksums"
        print(f"{folder.parent}  {_size_bytes(folder.parent) / 1e6:.0f} MB  {sums}")
    return 0


def _publish(snapshot: Path, target: Path) -> None:
    """Move a finished download to its place; what stands there is always complete."""
    work = target.with_name(f".{target.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    names = sorted(path.name for path in snapshot.iterdir() if path.is_file())
    for name in names:
        os.link((snapshot / name).resolve(), work / name)
        (work / name).chmod(0o644)
    _write_sums(work, names)
    work.rename(target)


def _write_sums(folder: Path, names: Sequence[str]) -> None:
    sums = "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums, encoding="utf-8")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _show(progress: float, detail: str) -> None:
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"{progress:4.0%} {detail}", end=end, flush=True)


if __name__ == "__main__":
    main()
