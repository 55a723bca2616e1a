"""Ogg files may be several streams one after the other, each with its own codec set-up and rate.

FFmpeg gives up where such a link differs from the one before, so each link is read as a file of its
own. RFC 3533: a page begins with `OggS`; pages flagged "beginning of stream" after others that are
not begin a new link.
"""

import io
import os
from typing import NamedTuple

_MAX_LINKS = 1000
_HEADER_BYTES = 27
_BEGINS = 0x02


class Link(NamedTuple):
    """Bytes `start` up to `end` of a file."""

    start: int
    end: int


def links(source: io.RawIOBase) -> list[Link]:
    """The links of an Ogg file; any other file, and one without order, is one link."""
    size = source.seek(0, os.SEEK_END)
    starts = [0]
    position = 0
    in_head = True
    while position < size and len(starts) < _MAX_LINKS:
        source.seek(position)
        header = source.read(_HEADER_BYTES + 255) or b""
        if header[:4] != b"OggS" or len(header) < _HEADER_BYTES:
            break
        begins = bool(header[5] & _BEGINS)
        if begins and not in_head:
            starts.append(position)
        in_head = begins
        segments = header[26]
        position += _HEADER_BYTES + segments + sum(header[_HEADER_BYTES:][:segments])
    return [Link(*pair) for pair in zip(starts, [*starts[1:], size], strict=True)]


class LinkReader(io.RawIOBase):
    """One link of a file, as a file."""

    def __init__(self, source: io.RawIOBase, link: Link) -> None:
        self._source = source
        self._link = link
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        left = self._link.end - self._link.start - self._position
        self._source.seek(self._link.start + self._position)
        piece = self._source.read(max(0, left if size < 0 else min(size, left))) or b""
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; positions count from the start of the link."""
        base = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._link.end - self._link.start,
        }
        self._position = max(0, base[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Position in the link."""
        return self._position
