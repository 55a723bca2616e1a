"""An app on a socket, for clients that need one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from .desk import until


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The root of the app's address while the block runs; its lifespan is somebody else's."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
