"""A process that serves nothing but uploads: `python tus_server.py ROOT PORT MAX_BYTES`."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from stenograf.backend.api.uploads import router
from stenograf.backend.uploads import UploadStore
from stenograf.httpserver import deadline_protocol


def main() -> None:
    root, port, max_bytes = sys.argv[1:]
    app = FastAPI()
    app.include_router(router(UploadStore(Path(root), max_bytes=int(max_bytes))))
    uvicorn.run(
        app,
        port=int(port),
        log_level="error",
        http=deadline_protocol(idle_timeout_s=20),
        timeout_graceful_shutdown=2,
    )


main()
