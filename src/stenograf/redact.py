"""Keys kept out of the logs, whatever a client puts where."""

import logging
import re

_MASK = "***"
_IN_QUERY = re.compile(
    r"((?:^|[?&;\s])(?:api[_-]?key|x-api-key|key|token|access_token|session)=)[^&\s\"';]+", re.I
)
_OURS = re.compile(r"sg_[0-9a-f]{8}_[A-Za-z0-9_-]{8,}")
_SCHEME = re.compile(r"\b(Bearer\s+)[^\s\"',]+", re.I)
_LOGGERS = ("", "uvicorn", "uvicorn.access", "uvicorn.error")


def masked(text: str) -> str:
    """`text` with what looks like a key replaced by stars."""
    text = _IN_QUERY.sub(rf"\g<1>{_MASK}", text)
    text = _OURS.sub(f"sg_{_MASK}", text)
    return _SCHEME.sub(rf"\g<1>{_MASK}", text)


class MaskKeys(logging.Filter):
    """Masks the keys in a record; nothing is dropped."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask message and arguments in place."""
        if isinstance(record.msg, str):
            record.msg = masked(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_masked_argument(value) for value in record.args)
        return True


def mask_logs() -> None:
    """Put `MaskKeys` before every handler that this process logs through; call it once."""
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(MaskKeys())


def _masked_argument(value: object) -> object:
    return masked(value) if isinstance(value, str) else value
