"""One line of progress on a terminal, and text that is safe to print there."""

import shutil
import time
from typing import TextIO

_BAR_CHARS = 24
_REDRAW_S = 0.1


def safe(text: str) -> str:
    """Without control characters: a file name or a server must not steer the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def duration(seconds: float) -> str:
    """`M:SS` or `H:MM:SS`, whole seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Bar:
    """A line that is drawn over itself; draws nothing where `stream` is not a terminal."""

    def __init__(self, stream: TextIO, label: str, *, quiet: bool = False) -> None:
        """Progress of `label` on `stream`; `quiet` silences it."""
        self._stream, self._label = stream, safe(label)
        self._active = not quiet and stream.isatty()
        self._drawn_at = 0.0

    def show(self, fraction: float | None, note: str) -> None:
        """Draw a share of 1, None while it is unknown, and a few words."""
        now = time.monotonic()
        if not self._active or (now - self._drawn_at < _REDRAW_S and fraction != 1):
            return
        self._drawn_at = now
        filled = round(_BAR_CHARS * min(max(fraction or 0.0, 0.0), 1.0))
        bar = "█" * filled + "░" * (_BAR_CHARS - filled)
        percent = "     " if fraction is None else f"{fraction:4.0%} "
        line = f"{self._label}  {bar} {percent} {safe(note)}"
        columns = shutil.get_terminal_size().columns
        self._stream.write(f"\r{line[: columns - 1]}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._active:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
