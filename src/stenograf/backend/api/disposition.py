"""`Content-Disposition` for names in any script (RFC 6266, RFC 8187)."""

import re
from typing import Literal
from urllib.parse import quote

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARS = 150


def disposition(kind: Literal["attachment", "inline"], stem: str, extension: str = "") -> str:
    """The header that names an answer `stem.extension`, also for a reader of ASCII alone.

    Of a name that is too long the end is kept.
    """
    tail = f".{extension}" if extension else ""
    name = _UNPRINTABLE.sub("_", stem)[-_MAX_CHARS:] + tail
    return (
        f"{kind}; filename=\"{_NOT_PLAIN.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"
    )
