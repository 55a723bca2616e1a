"""A stand-in for the hub that serves one folder as a model, file by file."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

SHA = "b" * 40


class FolderHub:
    """Serves `folder` as the public model `name` as long as it is open."""

    def __init__(self, name: str, folder: Path) -> None:
        self.asked: list[str] = []
        self._name = name
        self._files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._http.shutdown()
        self._thread.join(10)
        self._http.server_close()

    def _answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        name = path.rsplit("/", 1)[-1]
        if path.startswith(f"/api/models/{self._name}/tree/"):
            rows = [
                {
                    "type": "file",
                    "path": n,
                    "size": len(body),
                    "oid": hashlib.sha1(body).hexdigest(),
                }
                for n, body in self._files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()
        if path.startswith(f"/api/models/{self._name}"):
            siblings = [{"rfilename": n, "size": len(body)} for n, body in self._files.items()]
            about = {"id": self._name, "sha": SHA, "siblings": siblings, "private": False}
            return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
        if path.startswith(f"/{self._name}/resolve/") and name in self._files:
            body = self._files[name]
            etag = hashlib.sha256(body).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}, body
        return 404, {"X-Error-Code": "EntryNotFound"}, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(with_body=True)

            def do_HEAD(self) -> None:
                self._send(with_body=False)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def _send(self, *, with_body: bool) -> None:
                status, headers, body = hub._answer(self.path.split("?")[0])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

        return Handler
