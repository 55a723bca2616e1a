"""A file without a name, in memory where the system has such files."""

import os
import tempfile


def open_scratch() -> int:
    """Descriptor of an empty file for reading and writing, gone when it is closed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stenograf", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_whole(fd: int, data: memoryview, offset: int = 0) -> None:
    """Write all bytes of `data` at `offset`. Raises OSError where there is no room."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def read_whole(fd: int, into: memoryview, offset: int = 0) -> None:
    """Fill `into` from `offset` on. Raises EOFError where the file is shorter."""
    while into:
        n_read = os.preadv(fd, [into], offset)
        if not n_read:
            raise EOFError("a scratch file is shorter than was said")
        into, offset = into[n_read:], offset + n_read
