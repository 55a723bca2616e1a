"""Getting a decoding process from `decode_server`, which is started when it is first needed."""

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import stenograf
from stenograf.audio.task import ChildTask
from stenograf.contract.errors import OutOfResources

_LAST_BREATH_S = 5.0
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")


class Process:
    """A decoding process; its answers come from the descriptor `output`."""

    def __init__(self, output: int, line: socket.socket) -> None:
        self.output = output
        self.returncode: int | None = None  # negative: the signal; None: it runs, or nobody knows
        self._line = line
        line.settimeout(_LAST_BREATH_S)

    def wait(self) -> None:
        """Wait some seconds for its end."""
        with contextlib.suppress(OSError):
            code = self._line.recv(16)
            self.returncode = int(code) if code else self.returncode

    def end(self) -> None:
        """Kill it unless it has ended, and see it end."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)
            self.wait()


class Starter:
    """Keeps one server; where it is gone, the next process gets another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @contextlib.contextmanager
    def started(self, task: ChildTask, complaints: IO[bytes]) -> Iterator[Process]:
        """A process at its task, ended with the block. Raises OutOfResources."""
        with contextlib.ExitStack() as stack:
            try:
                line, their_line = map(stack.enter_context, socket.socketpair())
                output, their_output = os.pipe()
                stack.callback(os.close, output)
                with their_line, os.fdopen(their_output, "wb", 0) as written:
                    files = written.fileno(), complaints.fileno(), their_line.fileno()
                    self._request(task, [task.source_fd, task.spool_fd, *files])
            except OSError as error:
                raise OutOfResources(f"Decoding cannot be started: {error.strerror}.") from error
            process = Process(output, line)
            stack.callback(process.end)
            yield process

    def shut_down(self) -> None:
        """End the server, if there is one, and with it every process it has started."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def _request(self, task: ChildTask, descriptors: Sequence[int]) -> None:
        with self._lock:
            if self._server is None or not self._server.alive:
                if self._server is None:
                    atexit.register(self.shut_down)
                else:
                    self._server.close()
                self._server = _Server()
            self._server.request(task, descriptors)


class _Server:
    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "stenograf.audio.decode_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def request(self, task: ChildTask, descriptors: Sequence[int]) -> None:
        request = json.dumps(vars(task)).encode()
        socket.send_fds(self._requests, [request], list(descriptors))

    def close(self) -> None:
        self._requests.close()  # it ends when it sees this
        try:
            self._process.wait(_LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """Little of ours: no secrets, one thread, and the package from where this process has it."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    package_root = Path(stenograf.__file__).resolve().parents[1]
    return kept | {"PYTHONPATH": str(package_root), "OPENBLAS_NUM_THREADS": "1"}
