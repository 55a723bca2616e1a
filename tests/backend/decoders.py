"""Decoding processes, which a test may slow down while it looks around."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stenograf.audio.spool import SAMPLE_BYTES
from stenograf.contract.pcm import SAMPLE_RATE

_REST_S = 0.25  # longer than what lies between two reports of progress
_LONG_REST_S = 2.0
_WORK_S = 0.01
_SERVER = b"stenograf.audio.decode_server"


class Decoders:
    """The decoding processes of one service, by default of the one inside this process.

    Slowed down, they rest most of the time, and nearly always once `enough_s` of sound is decoded.
    """

    def __init__(self, data_dir: Path, enough_s: float, service_pid: int | None = None) -> None:
        self._spools = data_dir / "spool"
        self._enough_bytes = round(enough_s * SAMPLE_RATE) * SAMPLE_BYTES
        self._service_pid = service_pid or os.getpid()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def slow_down(self) -> None:
        """Those that begin from here on, too."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_slow, daemon=True)
            self._thread.start()

    def release(self) -> None:
        """Let all go on, for good."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_slow(self) -> None:
        while not self._released.is_set():
            found = list(self._found())
            _send(found, signal.SIGSTOP)
            enough = self._decoded_bytes() >= self._enough_bytes
            self._released.wait(_LONG_REST_S if enough else _REST_S)
            _send(found, signal.SIGCONT)
            self._released.wait(_WORK_S)

    def _decoded_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._spools.rglob("*") if path.is_file())

    def _found(self) -> Iterator[int]:
        parents = dict(_processes())
        servers = {pid for pid, parent in parents.items() if parent == self._service_pid}
        for pid, parent in parents.items():
            if parent in servers and _SERVER in _command(parent) and _SERVER in _command(pid):
                yield pid


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _processes() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2]
                yield int(folder.name), int(after_name.split()[1])


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
