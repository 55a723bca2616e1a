"""Memory that comes and goes stays with the process.

Sound moves in blocks of a few hundred kilobytes, which the C library would fetch from the kernel
and give back again and again; the kernel clears every page each time.
"""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT_BYTES = 64 * 1024**2  # free at the heap's end
_MAPPED_BYTES = 32 * 1024**2  # from here on a block is the kernel's, and goes back to it


def keep_freed_memory() -> None:
    """Have this process and its forks reuse blocks below 32 MB.

    For Linux with glibc; nothing happens elsewhere.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other libraries' mallopt has other numbers
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
