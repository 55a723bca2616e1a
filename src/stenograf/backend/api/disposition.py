"""`Content-Disposition` for names in any script (RFC 6266, RFC 8187)."""

import re
from urllib.parse import quote

_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARS = 150


def attachment(filename: str, extension: str) -> str:
    """The header that saves an answer as `filename.extension`, also where only ASCII is read."""
    stem = _UNPRINTABLE.sub("_", filename)[-_MAX_CHARS:] or "transcript"
    plain = _PLAIN.sub("_", stem)
    return (
        f'attachment; filename="{plain}.{extension}"; '
        f"filename*=UTF-8''{quote(stem, safe='')}.{extension}"
    )
