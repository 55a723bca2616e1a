"""Clients of other hands upload to a real server process."""

import asyncio
import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiotus
import pytest
from tusclient.client import TusClient

from ..clients.kit import node_clients
from .tus_peers import VERSION, Peer, ours

SIZE = 3_000_001
MIB = 1024**2

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # tuspy leaves files open


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def peer(root: Path) -> Iterator[Peer]:
    with ours(root) as peer:
        yield peer


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "совещание.bin"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def _assert_arrived(root: Path, url: str, recording: Path) -> None:
    folder = root / url.rsplit("/", 1)[-1]
    record = json.loads((folder / "info.json").read_text())
    expected = recording.read_bytes()
    assert (folder / "content").read_bytes() == expected
    assert record["sha256"] == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("chunk_size", [2**40, 1_000_000, 200_003])
@pytest.mark.parametrize("checksum", [False, True])
def test_tuspy(peer: Peer, root: Path, recording: Path, chunk_size: int, checksum: bool) -> None:
    uploader = TusClient(peer.files).uploader(
        str(recording),
        chunk_size=chunk_size,
        metadata={"filename": recording.name},
        upload_checksum=checksum,
    )
    uploader.upload()
    _assert_arrived(root, uploader.url, recording)


def test_tuspy_goes_on_where_another_stopped(peer: Peer, root: Path, recording: Path) -> None:
    client = TusClient(peer.files + "/")  # the slash some configurations have
    first = client.uploader(str(recording), chunk_size=500_000)
    first.upload(stop_at=1_500_000)
    second = client.uploader(str(recording), chunk_size=700_000, url=first.url)
    assert second.offset == 1_500_000
    second.upload()
    _assert_arrived(root, second.url, recording)


def test_tuspy_empty_file(peer: Peer, root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    uploader = TusClient(peer.files).uploader(str(empty))
    uploader.upload()
    _assert_arrived(root, uploader.url, empty)


def test_aiotus(peer: Peer, root: Path, recording: Path) -> None:
    endpoint = peer.files + "/"  # it appends the Location instead of resolving it

    async def upload() -> str:
        with recording.open("rb") as file:
            url = await aiotus.upload(endpoint, file, {"filename": b"a.bin"}, chunksize=400_000)
        return str(url)

    _assert_arrived(root, asyncio.run(upload()), recording)


@pytest.fixture(scope="module")
def modules() -> Path:
    return node_clients()


@pytest.mark.node
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunkSize": 300_000},
        {"uploadDataDuringCreation": True},
        {"overridePatchMethod": True},
        {"addRequestId": True, "metadata": {"filename": "речь.mp3", "filetype": "audio/mp3"}},
        {"stopAt": 1_000_000, "chunkSize": 4 * MIB},
        {"stopAt": 1_000_000, "chunkSize": 256 * 1024},
    ],
    ids=str,
)
def test_tus_js_client(
    peer: Peer, root: Path, recording: Path, modules: Path, options: dict[str, object]
) -> None:
    done = subprocess.run(
        ["node", "upload.mjs", peer.files, str(recording), json.dumps(options)],
        cwd=modules,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    _assert_arrived(root, done.stdout.strip(), recording)


def test_memory_does_not_grow_with_the_file(peer: Peer, tmp_path: Path) -> None:
    process = peer.server()
    path = peer.create(60 * MIB)
    before = process.memory_info().rss
    answer = peer.patch(path, 0, bytes(60 * MIB))
    assert answer.status == 204
    assert process.memory_info().rss - before < 20 * MIB
    peer.ask("DELETE", path, VERSION)
