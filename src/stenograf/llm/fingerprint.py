"""What a model folder is made of, in a few characters: other weights, another fingerprint."""

import hashlib
from pathlib import Path

_BLOCK_BYTES = 64 * 1024
_BLOCKS = 64
_DIGITS = 32
_BESIDE = (".md", "SHA256SUMS")  # not read by any engine


def fingerprint(folder: Path) -> str:
    """32 hex digits over the names, sizes and contents of the files directly in `folder`.

    Of a file over 4 MiB only 64 blocks are read, spread from its first byte to its last: training
    moves every weight, and gigabytes would take longer than loading the model.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or path.name.endswith(_BESIDE):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\n{size}\n".encode())
        with path.open("rb") as file:
            for start in _starts(size):
                file.seek(start)
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:_DIGITS]


def _starts(size: int) -> list[int]:
    if size <= _BLOCKS * _BLOCK_BYTES:
        return list(range(0, size, _BLOCK_BYTES))
    last = size - _BLOCK_BYTES
    return [last * number // (_BLOCKS - 1) for number in range(_BLOCKS)]
