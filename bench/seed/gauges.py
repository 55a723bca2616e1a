"""What a run costs: bytes through a counting relay, CPU seconds and peak memory of processes."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

_SAMPLE_S = 0.05


@dataclass
class Relay:
    """A TCP relay to one port that counts the bytes of both directions."""

    target_port: int
    port: int = 0
    counted_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where to connect instead of the target."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target_port)) as server:
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(256 * 1024):
                target.sendall(piece)
                with self._lock:
                    self.counted_bytes += len(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(target_port: int) -> Iterator[Relay]:
    """A running relay before a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Relay(target_port, listener.getsockname()[1])
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        yield made
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@dataclass
class Usage:
    """One service with its children, between two moments."""

    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


@contextmanager
def measured(services: Mapping[str, int]) -> Iterator[dict[str, Usage]]:
    """Measure process trees by name and root pid; figures are there when the block has ended."""
    usage = {name: Usage() for name in services}
    before = {name: cpu_s(pid) for name, pid in services.items()}
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(services, usage, ended))
    sampler.start()
    try:
        yield usage
    finally:
        ended.set()
        sampler.join()
        for name, pid in services.items():
            usage[name].cpu_s = cpu_s(pid) - before[name]


def _sample(
    services: Mapping[str, int], usage: Mapping[str, Usage], ended: threading.Event
) -> None:
    while not ended.is_set():
        for name, pid in services.items():
            usage[name].peak_rss_bytes = max(usage[name].peak_rss_bytes, _rss_bytes(pid))
        time.sleep(_SAMPLE_S)


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_s(pid: int) -> float:
    """CPU seconds of a process tree, children that have ended and were waited for included."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _rss_bytes(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total
