"""How many files and connections the system lets this process have open."""

import resource
from contextlib import suppress

_WANTED = 65_536
_OWN_FILES = 256  # the database, the log, recordings at work, connections to the model service
_OF_A_REQUEST = 2  # its connection, and a file that it writes or sends
_MOST = 8000


def raise_limit() -> None:
    """Take what the system gives without asking, as a server does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    with suppress(ValueError, OSError):  # what there is has to do then
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def room_for_connections() -> int:
    """How many clients may be connected so that the work itself never lacks descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(16, min(_MOST, (soft - _OWN_FILES) // _OF_A_REQUEST))
