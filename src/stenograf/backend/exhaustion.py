"""What errors of the system and of the database mean to whoever waits for the work."""

import errno
import sqlite3

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from stenograf.contract.errors import OutOfResources, StenografError, Unavailable

RAISED = (MemoryError, OSError, OperationalError, NoConnection)
"""The classes of errors among which `shortage` finds something."""

_SHORT = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_ASK_AGAIN_S = 5.0


def shortage(error: BaseException) -> StenografError | None:
    """OutOfResources or Unavailable where `error` says that the server is short of something.

    None for every other error.
    """
    if isinstance(error, MemoryError):
        return OutOfResources("Memory ran out.")
    if isinstance(error, OSError):
        return _used_up() if error.errno in _SHORT else None
    if isinstance(error, OperationalError) and _is_full(error.orig):
        return _used_up()
    if isinstance(error, OperationalError | NoConnection):
        return Unavailable("The database does not answer.", retry_after_s=_ASK_AGAIN_S)
    return None


def _used_up() -> OutOfResources:
    return OutOfResources("Disk space or another resource of the server ran out.")


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL
