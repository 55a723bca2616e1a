"""A stand-in for Hugging Face's hub with one public model."""

import hashlib
import json
from collections.abc import Mapping

from .local_server import Handler, LocalServer

COMMIT = "a" * 40

Answer = tuple[int, dict[str, str], bytes]


class Hub(LocalServer):
    """Serves the files of the model `name`; `asked` has the paths, `status` refuses everything."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.files = dict(files)
        self._name = name
        super().__init__(_handler(self))

    def answer(self, path: str) -> Answer:
        """Status, headers and body."""
        self.asked.append(path)
        if self.status != 200:
            return self.status, {"X-Error-Code": "GatedRepo"} if self.status == 403 else {}, b"{}"
        if path.startswith(f"/api/models/{self._name}/tree/"):
            return _json([_row(name, body) for name, body in self.files.items()])
        if path.startswith(f"/api/models/{self._name}"):
            return _json(self._about())
        name = path.rsplit("/", 1)[-1]
        if not path.startswith(f"/{self._name}/resolve/"):
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if name not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        body = self.files[name]
        etag = hashlib.sha256(body).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body

    def _about(self) -> dict[str, object]:
        siblings = [{"rfilename": name, "size": len(body)} for name, body in self.files.items()]
        about = {"id": self._name, "sha": COMMIT, "siblings": siblings, "tags": []}
        return about | {"private": False, "downloads": 0, "likes": 0}


def _row(name: str, body: bytes) -> dict[str, object]:
    oid = hashlib.sha1(body).hexdigest()
    return {"type": "file", "path": name, "size": len(body), "oid": oid}


def _json(shape: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(shape).encode()


def _handler(hub: Hub) -> type[Handler]:
    class HubHandler(Handler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path.split("?")[0])
            self.send(status, body, headers)

        do_HEAD = do_GET

    return HubHandler
