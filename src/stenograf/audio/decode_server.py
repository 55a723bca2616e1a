"""Starts decoding processes: everything they need is loaded once here, and each is a fork.

`python -m stenograf.audio.decode_server`, started by `decode_process`; standard input is a socket.
A request is one `ChildTask` as JSON with five descriptors: source, spool, standard output, standard
error, and a line on which the exit code goes back. Whoever closes that line has its process killed.
This process opens no recording itself, has one thread, and ends with the service that started it.
"""

import contextlib
import dataclasses
import gc
import json
import os
import signal
import socket
import sys
from selectors import EVENT_READ, DefaultSelector
from types import FrameType
from typing import NoReturn

from stenograf.audio import decode_child
from stenograf.audio.task import ChildTask
from stenograf.heap import keep_freed_memory
from stenograf.lifeline import end_with_parent

N_DESCRIPTORS = 5
_MAX_REQUEST_BYTES = 4096
_FAILED = 70  # the exit code where the process did not even begin


class Server:
    """The processes that run, each with the line of whoever asked for it."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = DefaultSelector()
        self._lines: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Start, watch and end processes until nobody is left to ask for them."""
        self._selector.register(self._requests, EVENT_READ, self._start)
        self._selector.register(_deaths(), EVENT_READ, self._bury)
        while self._requests.fileno() >= 0:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _start(self, requests: socket.socket) -> None:
        # Descriptors keep a message from being joined to the next one: unix(7).
        request, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, N_DESCRIPTORS)
        if not request:
            self._selector.unregister(requests)
            requests.close()
            return
        *others, line_fd = descriptors
        server_pid = os.getpid()
        pid = os.fork()
        if not pid:
            _become_decoder(ChildTask(**json.loads(request)), others, server_pid)
        for descriptor in others:
            os.close(descriptor)
        self._lines[pid] = line = socket.socket(fileno=line_fd)
        self._selector.register(line, EVENT_READ, lambda _: self._kill(pid))

    def _kill(self, pid: int) -> None:
        if pid in self._lines:  # it may just have ended by itself
            self._selector.unregister(self._lines[pid])
            os.kill(pid, signal.SIGKILL)

    def _bury(self, deaths: socket.socket) -> None:
        deaths.recv(4096)
        while self._lines:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self._lines.pop(pid) as line:
                if line in self._selector.get_map():
                    self._selector.unregister(line)
                with contextlib.suppress(OSError):  # nobody may care any more
                    line.send(b"%d" % os.waitstatus_to_exitcode(status))


def _deaths() -> socket.socket:
    """Readable whenever a process has ended."""
    readable, written = socket.socketpair()
    written.setblocking(False)
    signal.signal(signal.SIGCHLD, _notice)
    signal.set_wakeup_fd(written.detach())
    return readable


def _notice(number: int, frame: FrameType | None) -> None:
    """Python wakes the selector only for signals that have a handler."""


def _become_decoder(task: ChildTask, descriptors: list[int], server_pid: int) -> NoReturn:
    """Turn this fork into a decoding process that holds nothing but its own five descriptors."""
    code = _FAILED
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        end_with_parent(server_pid, signal.SIGKILL)
        os.setsid()
        source, spool, output, complaints = descriptors
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(complaints, 2)
        below, above = sorted((source, spool))
        os.closerange(3, below)
        os.closerange(below + 1, above)
        os.closerange(above + 1, os.sysconf("SC_OPEN_MAX"))
        code = decode_child.main(dataclasses.replace(task, source_fd=source, spool_fd=spool))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def main() -> None:
    """Load what decoding needs, then serve standard input."""
    keep_freed_memory()
    decode_child.rehearse()
    gc.freeze()  # collecting garbage would otherwise copy every page into each process
    Server(socket.socket(fileno=os.dup(0))).serve()


if __name__ == "__main__":
    main()
