"""Names of computations and the folding that search compares."""

import hashlib

from stenograf.contract.options import TranscribeOptions

_PREVIEW_CHARS = 160


def recognition_key(content_sha256: str, options: TranscribeOptions, model: str) -> str:
    """One name, 64 hex digits, for the same bytes, the same options and the same model."""
    named = f"{content_sha256}\n{options.key()}\n{model}"
    return hashlib.sha256(named.encode()).hexdigest()


def fold(text: str) -> str:
    """Text as search sees it: case folded (Cyrillic too), ё as е, one space between words."""
    return " ".join(text.casefold().replace("ё", "е").split())


def like(text: str) -> str:
    r"""A LIKE pattern (escape ``\``) that finds folded `text` anywhere."""
    escaped = fold(text).replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def preview(text: str) -> str:
    """The first words of a transcript, at most 160 characters."""
    if len(text) <= _PREVIEW_CHARS:
        return text
    cut = text[:_PREVIEW_CHARS]
    head, _, _ = cut.rpartition(" ")
    return f"{head or cut[:-1]}…"
