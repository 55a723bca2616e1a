"""kill -9 of an uploading server at random moments: nothing that was answered is lost."""

import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .tus_peers import CHUNK, VERSION, Peer, digest, ours

KILLS = 20
PIECE = 64 * 1024
PACE_S = 0.001  # between pieces, so that a kill falls into a chunk and not between uploads


@dataclass
class _Sender:
    """Sends recordings one after another, whatever happens to the server."""

    peer: Peer
    root: Path
    rng: random.Random
    path: str = ""
    data: bytes = b""
    acknowledged: int = 0
    finished: int = 0
    pieces_before_kill: int = 0
    killer: threading.Timer = field(init=False)

    def work_until_killed(self) -> None:
        """Send, and a random while later kill the server: in a chunk, its check, its sync."""
        self.pieces_before_kill = self.rng.randrange(1, 60)
        self.killer = threading.Timer(self.rng.uniform(0.0, 0.02), _kill, [self.peer])
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not self.killer.finished.is_set():
                self._step()
        self.killer.join()

    def _step(self) -> None:
        if not self.path:
            self.data = self.rng.randbytes(self.rng.randrange(1, 6_000_000))
            self.acknowledged = 0
            self.path = self.peer.create(len(self.data))
        if self.acknowledged == len(self.data):
            self.assert_arrived()
            self.path = ""
            return
        end = min(self.acknowledged + self.rng.randrange(1, 4_000_000), len(self.data))
        chunk = self.data[self.acknowledged : end]
        headers = {**VERSION, **CHUNK, "Upload-Offset": str(self.acknowledged)}
        if self.rng.random() < 0.5:
            headers["Upload-Checksum"] = digest("sha256", chunk)
        self.acknowledged = self._patch(headers, chunk)

    def _patch(self, headers: dict[str, str], chunk: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.peer.port, timeout=60)
        try:
            connection.putrequest("PATCH", self.path)
            for name, value in {**headers, "Content-Length": str(len(chunk))}.items():
                connection.putheader(name, value)
            connection.endheaders()
            for start in range(0, len(chunk), PIECE):
                connection.send(chunk[start : start + PIECE])
                self.pieces_before_kill -= 1
                if self.pieces_before_kill == 0:
                    self.killer.start()
                time.sleep(PACE_S)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 204
            return int(answer.headers["Upload-Offset"])
        finally:
            connection.close()

    def resume(self) -> None:
        """Ask the server that came back; it must know at least what was answered before."""
        if not self.path:
            return
        offset = self.peer.offset(self.path)
        assert self.acknowledged <= offset <= len(self.data)
        content = (self._folder() / "content").read_bytes()
        assert content[:offset] == self.data[:offset]
        self.acknowledged = offset

    def finish(self) -> None:
        while self.path:
            self._step()

    def assert_arrived(self) -> None:
        sha256 = hashlib.sha256(self.data).hexdigest()
        assert json.loads((self._folder() / "info.json").read_text())["sha256"] == sha256
        content = (self._folder() / "content").read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
        self.finished += 1

    def _folder(self) -> Path:
        return self.root / self.path.rsplit("/", 1)[-1]


def _kill(peer: Peer) -> None:
    server = peer.server()
    server.kill()
    while peer.server() in (server, peer.parent()):
        time.sleep(0.03)


def _until_back(peer: Peer) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), peer.connect():
            return
        time.sleep(0.01)
    raise AssertionError("the server did not come back")


def test_uploads_survive_kill_9_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(20)
    interrupted = 0
    with ours(tmp_path) as peer:
        sender = _Sender(peer, tmp_path, rng)
        for _ in range(KILLS):
            sender.work_until_killed()
            _until_back(peer)
            interrupted += bool(sender.path)
            sender.resume()
        sender.finish()
    assert interrupted >= KILLS / 2
    assert sender.finished >= 3
