"""A child process that does not outlive its parent."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int, number: signal.Signals) -> None:
    """Have the kernel send this process `number` when its parent ends; for the child to call.

    Linux only, prctl(2); nothing happens elsewhere. To the kernel the parent is the thread that
    forked, so that thread must live as long as the child is needed.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:  # it ended before we asked to be told
        os._exit(1)


def tied(module: str) -> list[str]:
    """Command that runs `python -m module` as a child that gets SIGTERM when this process ends.

    Not a `preexec_fn` of Popen: with one, Python runs its hooks around the fork, and a Ctrl-C that
    comes while they run is lost.
    """
    return [sys.executable, "-m", __name__, str(os.getpid()), module]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-m", sys.argv[2]])
