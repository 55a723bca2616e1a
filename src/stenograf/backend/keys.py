"""Names of computations, the folding that search compares, cursors of lists."""

import base64
import hashlib

from stenograf.contract.errors import BadRequest
from stenograf.contract.options import TranscribeOptions

_PREVIEW_CHARS = 160


def recognition_key(
    content_sha256: str, options: TranscribeOptions, model: str, fingerprint: str = ""
) -> str:
    """One name, 64 hex digits, for the same bytes, the same options and the same model.

    The model's `fingerprint` tells its weights from others of the same name, if it is known.
    """
    named = f"{content_sha256}\n{options.key()}\n{model}"
    if fingerprint:
        named += f"\n{fingerprint}"
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


def write_cursor(created_at: float, job_id: str) -> str:
    """Where a page of jobs ended, as an opaque string."""
    return base64.urlsafe_b64encode(f"{created_at!r} {job_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, str]:
    """What `write_cursor` was given. Raises BadRequest for any other string."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, job_id = base64.urlsafe_b64decode(padded).decode().split(" ")
        return float(created_at), job_id
    except ValueError:
        raise BadRequest("The cursor is not one that this service gave.", param="cursor") from None
