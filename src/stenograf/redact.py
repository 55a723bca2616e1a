"""Keys kept out of the logs, whatever a client puts where."""

import logging
import re
from contextlib import suppress

_MASK = "***"
_IN_QUERY = re.compile(
    r"((?:^|[?&;\s])(?:api[_-]?key|x-api-key|key|token|access_token|session)=)[^&\s\"';]+", re.I
)
_OURS = re.compile(r"sg_[0-9a-f]{8}_[A-Za-z0-9_-]{8,}")
_SCHEME = re.compile(r"\b(Bearer\s+)[^\s\"',]+", re.I)
_HEADER = re.compile(r"\b((?:authorization|x-api-key|(?:set-)?cookie)['\"]?\s*:\s*)[^\r\n]+", re.I)
_SUBPROTOCOL = re.compile(r"(openai-insecure-api-key\.)[^\s\"',]+")
_LOGGERS = ("", "uvicorn", "uvicorn.access", "uvicorn.error")


def masked(text: str) -> str:
    """`text` with what looks like a key replaced by stars."""
    text = _IN_QUERY.sub(rf"\g<1>{_MASK}", text)
    text = _OURS.sub(f"sg_{_MASK}", text)
    for pattern in (_HEADER, _SUBPROTOCOL, _SCHEME):
        text = pattern.sub(rf"\g<1>{_MASK}", text)
    return text


class MaskKeys(logging.Filter):
    """Masks the keys in a record; nothing is dropped."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place."""
        if record.name == "uvicorn.access" and isinstance(record.args, tuple):
            # its formatter takes the arguments apart
            record.args = tuple(masked(a) if isinstance(a, str) else a for a in record.args)
        else:
            with suppress(TypeError, ValueError):  # a wrong format is the handler's to report
                record.msg, record.args = masked(record.getMessage()), None
        return True


def mask_logs() -> None:
    """Put `MaskKeys` before every handler that this process logs through; call it once."""
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(MaskKeys())
