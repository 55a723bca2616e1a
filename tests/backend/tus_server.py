"""A process that serves nothing but uploads: `python tus_server.py ROOT STALL_S PATIENCE_S PORT
MAX_BYTES`.

The one that serves is a child; when it is killed the parent, which never touched the store,
forks another, so that a test may kill often without waiting for imports.
"""

import os
import signal
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from stenograf.backend.api.uploads import router
from stenograf.backend.uploads import UploadStore
from stenograf.httpserver import deadline_protocol


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    os.setpgrp()
    while True:
        child = os.fork()
        if child == 0:
            serve()
            return
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


def serve() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    root, stall_s, patience_s, port, max_bytes = sys.argv[1:]
    store = UploadStore(
        Path(root),
        max_bytes=int(max_bytes),
        stall_s=float(stall_s),
        patience_s=float(patience_s),
    )
    app = FastAPI()
    app.include_router(router(store))
    uvicorn.run(
        app,
        port=int(port),
        log_level="error",
        http=deadline_protocol(idle_timeout_s=20),
        timeout_graceful_shutdown=2,
    )


main()
