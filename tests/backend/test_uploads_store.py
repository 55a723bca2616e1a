"""The upload store: what it keeps, what it refuses, what survives."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.backend.upload_writer import CONTENT, sole
from stenograf.backend.uploads import Checksum, Upload, UploadStore
from stenograf.contract.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    Gone,
    Locked,
    NotFinished,
    NotFound,
    OffsetMismatch,
    OutOfResources,
    TooLarge,
)

DATA = random.Random(4).randbytes(300_000)
DAY_S = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[UploadStore]:
    store = UploadStore(tmp_path / "uploads", max_bytes=10**6, ttl_s=DAY_S, clock=clock)
    yield store
    store.close()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _checksum(data: bytes, algorithm: str = "sha1") -> Checksum:
    return Checksum(algorithm, hashlib.new(algorithm, data).digest())


def _sealed(store: UploadStore, data: bytes = b"sound") -> Upload:
    return store.append(store.create(len(data)).id, 0, [data])


def _content(store: UploadStore, upload_id: str) -> bytes:
    return store.path(upload_id).read_bytes()


def test_last_byte_seals_with_the_hash_of_the_content(store: UploadStore) -> None:
    upload = store.create(len(DATA), {"filename": "речь.mp3", "filetype": "audio/mpeg"})
    assert not upload.sealed
    assert (upload.offset, upload.length) == (0, len(DATA))
    upload = store.append(upload.id, 0, [DATA[:1000], b"", DATA[1000:70_000]])
    assert upload.offset == 70_000
    assert not upload.sealed
    upload = store.append(upload.id, 70_000, [DATA[70_000:]])
    assert upload.sealed
    assert upload.sha256 == _sha256(DATA)
    assert (upload.filename, upload.media_type) == ("речь.mp3", "audio/mpeg")
    assert _content(store, upload.id) == DATA


def test_empty_upload_is_sealed_at_once(store: UploadStore) -> None:
    assert store.create(0).sha256 == _sha256(b"")


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\a.wav", "a.wav"),
        ("a\nb\x00c\x1b[1m", "a\ufffdb\ufffdc\ufffd[1m"),
        ("\udcff\udcfe.mp3", "\ufffd\ufffd.mp3"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("я" * 5000, "я" * 255),
        ("..", ".."),
        ("", ""),
    ],
)
def test_names_are_shown_and_never_become_paths(
    store: UploadStore, tmp_path: Path, given_name: str, shown: str
) -> None:
    upload = store.append(store.create(1, {"filename": given_name}).id, 0, [b"x"])
    assert upload.filename == shown
    assert upload.metadata["filename"] == given_name
    assert store.path(upload.id) == tmp_path / "uploads" / upload.id / "content"
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"content", "info.json"}


@pytest.mark.parametrize("given_type", ["text/html\r\nX: y", "audio", "а/б", "x" * 500 + "/y", ""])
def test_odd_media_types_become_octet_stream(store: UploadStore, given_type: str) -> None:
    assert store.create(1, {"filetype": given_type}).media_type == "application/octet-stream"


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../uploads", "a/b", "a" * 65, "нет", "no"])
def test_ids_that_are_none(store: UploadStore, upload_id: str) -> None:
    with pytest.raises(NotFound):
        store.info(upload_id)
    with pytest.raises(NotFound):
        store.delete(upload_id)
    store.discard(upload_id)


@pytest.mark.parametrize("offset", [0, 9, 11, 10**17])
def test_chunk_must_start_where_the_upload_ends(store: UploadStore, offset: int) -> None:
    upload = store.append(store.create(20).id, 0, [b"0123456789"])
    with pytest.raises(OffsetMismatch):
        store.append(upload.id, offset, [b"x"])
    assert store.info(upload.id).offset == 10


def test_more_bytes_than_announced_are_refused_and_never_seal(store: UploadStore) -> None:
    upload = store.create(10)
    with pytest.raises(TooLarge):
        store.append(upload.id, 0, [b"12345", b"678901"])
    upload = store.info(upload.id)
    assert (upload.offset, upload.sealed) == (5, False)
    assert store.append(upload.id, 5, [b"67890"]).sha256 == _sha256(b"1234567890")
    with pytest.raises(TooLarge):
        store.append(upload.id, 10, [b"x"])
    assert store.append(upload.id, 10, []).sha256 == _sha256(b"1234567890")


def test_a_chunk_announced_too_long_is_refused_before_its_first_byte(store: UploadStore) -> None:
    upload = store.create(10)
    with pytest.raises(TooLarge):
        store.append(upload.id, 0, [b"12345"], n_bytes=11)
    assert store.info(upload.id).offset == 0
    assert store.append(upload.id, 0, [b"1234567890"], n_bytes=10).sealed


def test_length_may_come_later(store: UploadStore) -> None:
    upload = store.append(store.create(None).id, 0, [b"12345"])
    assert (upload.length, upload.sealed) == (None, False)
    for wrong in (4, 10**6 + 1):
        with pytest.raises((BadRequest, TooLarge)):
            store.append(upload.id, 5, [], length=wrong)
    with pytest.raises(TooLarge):
        store.append(upload.id, 5, [bytes(10**6)])
    upload = store.append(upload.id, 5, [b"67"], length=7)
    assert upload.sha256 == _sha256(b"1234567")
    with pytest.raises(BadRequest):
        store.append(upload.id, 7, [], length=7)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_chunk_with_a_wrong_checksum_leaves_no_byte(store: UploadStore, algorithm: str) -> None:
    upload = store.append(store.create(len(DATA)).id, 0, [DATA[:1000]])
    with pytest.raises(ChecksumMismatch):
        store.append(upload.id, 1000, [DATA[1001:]], checksum=_checksum(DATA[1000:], algorithm))
    assert store.info(upload.id).offset == 1000
    upload = store.append(
        upload.id, 1000, [DATA[1000:]], checksum=_checksum(DATA[1000:], algorithm)
    )
    assert upload.sha256 == _sha256(DATA)
    assert _content(store, upload.id) == DATA


def test_last_chunk_with_a_wrong_checksum_does_not_seal(store: UploadStore) -> None:
    upload = store.create(5)
    with pytest.raises(ChecksumMismatch):
        store.append(upload.id, 0, [b"wrong"], checksum=_checksum(b"right"))
    assert (store.info(upload.id).offset, store.info(upload.id).sealed) == (0, False)


def test_cut_connection_keeps_plain_bytes_and_drops_unverified_ones(store: UploadStore) -> None:
    def cut() -> Iterator[bytes]:
        yield DATA[:500]
        raise ConnectionResetError

    plain, checked = store.create(len(DATA)), store.create(len(DATA))
    with pytest.raises(ConnectionResetError):
        store.append(plain.id, 0, cut())
    with pytest.raises(ConnectionResetError):
        store.append(checked.id, 0, cut(), checksum=_checksum(DATA))
    assert store.info(plain.id).offset == 500
    assert store.info(checked.id).offset == 0


def test_offset_asked_in_the_middle_of_a_chunk(store: UploadStore) -> None:
    seen: list[int] = []

    def watched(upload_id: str) -> Iterator[bytes]:
        for start in range(0, 3000, 1000):
            seen.append(store.info(upload_id).offset)
            yield DATA[start : start + 1000]

    plain, checked = store.create(3000), store.create(3000)
    store.append(plain.id, 0, watched(plain.id))
    store.append(checked.id, 0, watched(checked.id), checksum=_checksum(DATA[:3000]))
    assert seen == [0, 1000, 2000, 0, 0, 0]


def test_a_copy_of_the_descriptor_in_a_starting_process_does_not_keep_the_lock(
    tmp_path: Path,
) -> None:
    (tmp_path / CONTENT).touch()
    with sole(tmp_path) as descriptor:
        copy = os.dup(descriptor)  # what a fork holds until its exec
    try:
        with sole(tmp_path):
            pass
    finally:
        os.close(copy)


def test_complete_but_unsealed_content_is_sealed_when_it_is_looked_at(
    store: UploadStore, tmp_path: Path
) -> None:
    upload = store.append(store.create(10).id, 0, [b"12345"])
    # what a process leaves that is killed between the last byte and the seal
    with (tmp_path / "uploads" / upload.id / "content").open("ab") as file:
        file.write(b"67890")
    assert store.info(upload.id).sha256 == _sha256(b"1234567890")


def test_what_is_answered_is_on_the_disk(
    store: UploadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}  # inode: its size when it was last synced
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    def assert_synced(*paths: Path) -> None:
        for path in paths:
            status = path.stat()
            assert path.is_dir() or synced.get(status.st_ino) == status.st_size
            assert status.st_ino in synced
        synced.clear()

    monkeypatch.setattr(os, "fsync", recorded)
    root = tmp_path / "uploads"
    folder = root / store.create(30).id
    assert_synced(root, folder, folder / "info.json")
    store.append(folder.name, 0, [b"0123456789"])
    assert_synced(folder / "content")
    store.append(folder.name, 10, [b"0123456789"], checksum=_checksum(b"0123456789"))
    assert_synced(folder / "content", folder, folder / "info.json")

    def asked_in_the_middle() -> Iterator[bytes]:
        yield b"01234"
        assert store.info(folder.name).offset == 25
        assert_synced(folder / "content")
        yield b"56789"

    again = UploadStore(root, max_bytes=100, clock=Clock())
    again.info(folder.name)  # after a crash nothing is taken on trust
    assert_synced(folder / "content")
    store.append(folder.name, 20, asked_in_the_middle())
    assert_synced(folder / "content", folder, folder / "info.json")
    store.claim(folder.name)
    assert_synced(folder, folder / "info.json")


class TestLimits:
    def test_setting(self, store: UploadStore) -> None:
        with pytest.raises(TooLarge, match="1000000"):
            store.create(10**6 + 1)
        assert store.capacity() == 10**6

    def test_disk_at_creation_says_how_much_room_there_is(self, tmp_path: Path) -> None:
        store = UploadStore(tmp_path, max_bytes=10**9, min_free_bytes=500, free_bytes=lambda _: 700)
        assert store.capacity() == 200
        store.create(200)
        with pytest.raises(TooLarge, match="200"):
            store.create(201)

    def test_disk_in_the_middle_keeps_what_came(self, tmp_path: Path) -> None:
        free = [10_000]
        store = UploadStore(
            tmp_path, max_bytes=10**9, min_free_bytes=100, free_bytes=lambda _: free[0]
        )

        def filling() -> Iterator[bytes]:
            yield DATA[:1000]
            free[0] = 150
            yield DATA[1000:2000]

        upload = store.create(3000)
        with pytest.raises(OutOfResources):
            store.append(upload.id, 0, filling())
        assert store.info(upload.id).offset == 1000
        free[0] = 10_000
        assert store.append(upload.id, 1000, [DATA[1000:3000]]).sha256 == _sha256(DATA[:3000])


class TestExpiry:
    def test_counts_from_the_last_byte(self, store: UploadStore, clock: Clock) -> None:
        upload = store.create(10)
        assert upload.expires_at is not None
        assert upload.expires_at.timestamp() == clock.now + DAY_S
        clock.now += DAY_S - 1
        upload = store.append(upload.id, 0, [b"12345"])
        assert upload.expires_at is not None
        assert upload.expires_at.timestamp() == clock.now + DAY_S
        clock.now += DAY_S - 1
        assert store.expire() == []
        clock.now += 2
        with pytest.raises(Gone):
            store.info(upload.id)
        with pytest.raises(Gone):
            store.append(upload.id, 5, [b"6"])
        assert store.expire() == [upload.id]
        with pytest.raises(NotFound):
            store.info(upload.id)

    def test_claimed_uploads_stay(self, store: UploadStore, clock: Clock, tmp_path: Path) -> None:
        unused, used = _sealed(store), _sealed(store)
        assert store.claim(used.id).expires_at is None
        assert store.claim(used.id).claimed
        assert store.claimed() == {used.id}
        clock.now += 100 * DAY_S
        again = UploadStore(tmp_path / "uploads", max_bytes=10**6, ttl_s=DAY_S, clock=clock)
        assert again.expire() == [unused.id]
        assert _content(again, used.id) == b"sound"
        released = again.release(used.id)
        assert released.expires_at is not None
        assert again.expire() == []
        clock.now += DAY_S + 1
        assert again.expire() == [used.id]
        assert list((tmp_path / "uploads").iterdir()) == []

    def test_what_the_caller_wants_kept_stays(self, store: UploadStore, clock: Clock) -> None:
        upload = _sealed(store)
        clock.now += 2 * DAY_S
        assert store.expire(keep={upload.id}) == []
        assert store.expire() == [upload.id]

    def test_not_while_bytes_come(self, store: UploadStore, clock: Clock) -> None:
        def slow() -> Iterator[bytes]:
            yield b"12345"
            clock.now += 2 * DAY_S
            assert store.expire() == []
            yield b"67890"

        assert store.append(store.create(10).id, 0, slow()).sealed

    def test_leftovers_of_a_crash_are_removed(
        self, store: UploadStore, clock: Clock, tmp_path: Path
    ) -> None:
        half = tmp_path / "uploads" / "half-created"
        half.mkdir()
        (half / "content").touch()
        (half / "info.json.new").write_text('{"len')
        clock.now = half.stat().st_mtime
        assert store.expire() == []
        clock.now += DAY_S + 1
        assert store.expire() == ["half-created"]
        assert not half.exists()


class TestRemoval:
    def test_sender_may_remove_what_no_job_uses(self, store: UploadStore, tmp_path: Path) -> None:
        for upload in (store.create(5), _sealed(store)):
            store.delete(upload.id)
            with pytest.raises(NotFound):
                store.info(upload.id)
        assert list((tmp_path / "uploads").iterdir()) == []

    def test_sender_may_not_remove_a_jobs_recording(self, store: UploadStore) -> None:
        upload = store.claim(_sealed(store).id)
        with pytest.raises(Conflict):
            store.delete(upload.id)
        assert _content(store, upload.id) == b"sound"
        store.discard(upload.id)
        store.discard(upload.id)
        with pytest.raises(NotFound):
            store.path(upload.id)

    def test_unfinished_uploads_are_no_jobs(self, store: UploadStore) -> None:
        upload = store.create(5)
        for use in (store.claim, store.release, store.path):
            with pytest.raises(NotFinished):
                use(upload.id)


class TestWriters:
    def test_second_writer_is_locked_out(self, store: UploadStore) -> None:
        upload = store.create(10)

        def rivalled() -> Iterator[bytes]:
            yield b"12345"
            with pytest.raises(Locked):
                store.append(upload.id, 5, [b"xxxxx"])
            yield b"67890"

        assert store.append(upload.id, 0, rivalled()).sha256 == _sha256(b"1234567890")

    def test_writer_of_another_process_is_respected(
        self, store: UploadStore, tmp_path: Path
    ) -> None:
        upload = store.create(10)
        with (tmp_path / "uploads" / upload.id / "content").open("rb+") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(Locked):
                store.append(upload.id, 0, [b"1234567890"])
            assert store.info(upload.id).offset == 0
        assert store.append(upload.id, 0, [b"1234567890"]).sealed

    @pytest.mark.parametrize("checked", [False, True])
    def test_two_processes_on_one_folder(self, tmp_path: Path, checked: bool) -> None:
        # a lock of another store object on the same file is what another process would hold
        mine, other = (UploadStore(tmp_path, max_bytes=10**6) for _ in range(2))
        upload = mine.append(mine.create(30).id, 0, [b"0123456789"])

        def rivalled() -> Iterator[bytes]:
            yield b"01234"
            assert other.info(upload.id).offset == (10 if checked else 15)
            for offset in (10, 15):
                with pytest.raises(Locked):
                    other.append(upload.id, offset, [b"x"])
            yield b"56789"

        checksum = _checksum(b"0123456789") if checked else None
        assert mine.append(upload.id, 10, rivalled(), checksum=checksum).offset == 20
        sealed = other.append(upload.id, 20, [b"0123456789"])
        assert sealed.sha256 == mine.info(upload.id).sha256 == _sha256(b"0123456789" * 3)


class TestReceive:
    """The event loop's side: bodies that stall, rivals, removal in mid-chunk, cancellation."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[UploadStore]:
        store = UploadStore(tmp_path, max_bytes=10**6, stall_s=0.2, patience_s=10)
        yield store
        store.close()

    @staticmethod
    async def _pieces(*pieces: bytes, then_stall: bool = False) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if then_stall:
            await asyncio.sleep(60)

    @staticmethod
    async def _until_offset(store: UploadStore, upload: Upload, offset: int) -> None:
        async with asyncio.timeout(30):
            while store.info(upload.id).offset < offset:
                await asyncio.sleep(0.01)

    def test_a_stalled_writer_gives_way_to_the_one_who_reconnects(self, store: UploadStore) -> None:
        async def scenario() -> Upload:
            upload = store.create(10)
            dead = asyncio.create_task(
                store.receive(upload.id, 0, self._pieces(b"12345", then_stall=True))
            )
            await self._until_offset(store, upload, 5)
            started = time.monotonic()
            upload = await store.receive(upload.id, 5, self._pieces(b"67890"))
            assert time.monotonic() - started > 0.1
            with pytest.raises(Locked):
                await dead
            return upload

        assert asyncio.run(scenario()).sha256 == _sha256(b"1234567890")

    def test_a_busy_writer_keeps_its_lock(self, tmp_path: Path) -> None:
        store = UploadStore(tmp_path, max_bytes=10**6, stall_s=20, patience_s=0.5)
        answered = asyncio.Event()

        async def steady() -> AsyncIterator[bytes]:
            yield b"x"
            await answered.wait()
            yield b"x" * 19

        async def scenario() -> Upload:
            upload = store.create(20)
            busy = asyncio.create_task(store.receive(upload.id, 0, steady()))
            await self._until_offset(store, upload, 1)
            with pytest.raises(Locked) as refused:
                await store.receive(upload.id, store.info(upload.id).offset, self._pieces(b"y"))
            assert refused.value.headers() == {"Retry-After": "1"}
            answered.set()
            return await busy

        assert asyncio.run(scenario()).sha256 == _sha256(b"x" * 20)
        store.close()

    def test_a_piece_that_cannot_be_written_ends_the_chunk_there(self, store: UploadStore) -> None:
        async def scenario() -> int:
            upload = store.create(10)
            with pytest.raises(TooLarge):
                await store.receive(upload.id, 0, self._pieces(b"12345", b"6" * 6, b"6789"))
            return store.info(upload.id).offset

        assert asyncio.run(scenario()) == 5

    def test_removal_ends_the_writer(self, store: UploadStore, tmp_path: Path) -> None:
        async def scenario() -> None:
            upload = store.create(10)
            writing = asyncio.create_task(
                store.receive(upload.id, 0, self._pieces(b"12345", then_stall=True))
            )
            await self._until_offset(store, upload, 5)
            store.delete(upload.id)
            with pytest.raises(NotFound):
                await asyncio.wait_for(writing, 30)

        asyncio.run(scenario())
        assert list(tmp_path.iterdir()) == []

    def test_cancelled_request_lets_the_next_one_in(self, store: UploadStore) -> None:
        async def scenario() -> Upload:
            upload = store.create(10)
            writing = asyncio.create_task(
                store.receive(upload.id, 0, self._pieces(b"12345", then_stall=True))
            )
            await self._until_offset(store, upload, 5)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            return await store.receive(upload.id, 5, self._pieces(b"67890"))

        assert asyncio.run(scenario()).sealed

    def test_a_slow_disk_does_not_stop_the_loop(self, tmp_path: Path) -> None:
        turned = threading.Event()

        def slow(_: Path) -> int:
            turned.clear()
            assert turned.wait(20), "the loop stands still"
            return 10**9

        store = UploadStore(tmp_path, max_bytes=10**6, free_bytes=slow)

        async def receive() -> Upload:
            upload = await asyncio.to_thread(store.create, 3)
            return await store.receive(upload.id, 0, self._pieces(b"1", b"2", b"3"))

        async def scenario() -> Upload:
            writing = asyncio.create_task(receive())
            while not writing.done():
                await asyncio.sleep(0.005)
                turned.set()
            return await writing

        assert asyncio.run(scenario()).sealed
        store.close()


class _Cut(Exception):
    """The connection broke."""


@dataclass(frozen=True)
class _Step:
    """One chunk: how long, in what pieces, with a checksum or not, and how it ends."""

    size: int
    piece: int
    checked: bool
    end: str

    def sent(self, chunk: bytes) -> bytes:
        """The bytes that really come."""
        if self.end == "corrupt" and self.checked and chunk:
            return bytes([chunk[0] ^ 1]) + chunk[1:]
        return chunk if self.end in ("whole", "corrupt") else chunk[: len(chunk) // 2]


class _Life:
    """A store whose process dies and starts anew on a copy of its disk, as kill -9 leaves it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lives = folder, 0
        self.root = folder / "0"
        self.store = UploadStore(self.root, max_bytes=1000)

    def take(self, upload_id: str, offset: int, chunk: bytes, step: _Step) -> None:
        left = self._folder / str(self._lives + 1)
        checksum = _checksum(chunk, "sha256") if step.checked else None
        with contextlib.suppress(_Cut, ChecksumMismatch):
            self.store.append(upload_id, offset, self._pieces(chunk, step, left), checksum=checksum)
        if left.exists():
            self.store.close()
            self._lives += 1
            self.root, self.store = left, UploadStore(left, max_bytes=1000)

    def _pieces(self, chunk: bytes, step: _Step, left: Path) -> Iterator[bytes]:
        sent = step.sent(chunk)
        for start in range(0, len(sent), step.piece):
            yield sent[start : start + step.piece]
        if step.end == "killed":
            shutil.copytree(self.root, left)
        if step.end in ("cut", "killed"):
            raise _Cut


_STEPS = st.lists(
    st.builds(
        _Step,
        size=st.integers(0, 150),
        piece=st.integers(1, 60),
        checked=st.booleans(),
        end=st.sampled_from(["whole", "cut", "killed", "corrupt"]),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(data=st.binary(max_size=400), steps=_STEPS)
def test_any_partition_with_any_accidents_gives_the_same_bytes(
    data: bytes, steps: list[_Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = _Life(Path(folder))
        upload = life.store.create(len(data))
        for step in [*steps, _Step(len(data), 100, True, "whole")]:
            offset = upload.offset
            chunk = data[offset : offset + step.size]
            life.take(upload.id, offset, chunk, step)
            upload = life.store.info(upload.id)
            on_disk = (life.root / upload.id / "content").read_bytes()
            assert on_disk[: upload.offset] == data[: upload.offset]
            if step.checked:
                came = step.end == "whole" or not chunk
                assert upload.offset == offset + (len(chunk) if came else 0)
            else:
                assert upload.offset == offset + len(step.sent(chunk))
        assert upload.sha256 == _sha256(data)
        assert _content(life.store, upload.id) == data
        life.store.close()


@pytest.mark.parametrize("record", [None, "", "{", '"text"', "[]", '{"colour": 1}'])
def test_what_is_no_upload_disturbs_nobody(
    tmp_path: Path, clock: Clock, record: str | None
) -> None:
    store = UploadStore(tmp_path, max_bytes=10, ttl_s=DAY_S, clock=clock)
    old = store.create(5)
    (tmp_path / "stranger").mkdir()
    (tmp_path / "a file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "lost+found").mkdir()
    if record is not None:
        (tmp_path / "stranger" / "info.json").write_text(record)
    with pytest.raises(NotFound):
        store.info("stranger")
    assert store.claimed() == set()
    clock.now += 2 * DAY_S
    assert old.id in store.expire()
    assert {"a file", "file", "lost+found"} <= {path.name for path in tmp_path.iterdir()}


def another(tmp_path: Path, clock: Clock) -> UploadStore:
    """The store of a second process."""
    return UploadStore(tmp_path / "uploads", max_bytes=10**6, ttl_s=DAY_S, clock=clock)


def test_what_another_process_writes_does_not_expire(
    tmp_path: Path, store: UploadStore, clock: Clock
) -> None:
    upload = store.create(10)
    other = another(tmp_path, clock)

    def pieces() -> Iterator[bytes]:
        yield DATA[:5]
        content = tmp_path / "uploads" / upload.id / CONTENT
        os.utime(content, (clock.now, clock.now))  # by the clock of this test
        clock.now += 2 * DAY_S
        assert other.expire() == []
        yield DATA[5:10]

    assert store.append(upload.id, 0, pieces()).sealed
    other.close()


def test_two_processes_expire_the_same_uploads(
    tmp_path: Path, store: UploadStore, clock: Clock
) -> None:
    other = another(tmp_path, clock)
    ids = {store.create(10).id for _ in range(40)}
    clock.now += 2 * DAY_S
    removed: list[str] = []
    threads = [
        threading.Thread(target=lambda s=s: removed.extend(s.expire())) for s in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(removed) == ids
    assert list((tmp_path / "uploads").iterdir()) == []
    for upload_id in ids:
        with pytest.raises(NotFound):
            other.info(upload_id)
    other.close()
