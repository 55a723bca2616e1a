"""Bytes made to harm: they give sound or a 4xx, quickly, and open nothing but themselves."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from stenograf.audio.decode import decode
from stenograf.audio.spool import Spool
from stenograf.contract.errors import (
    BadRequest,
    DecodeLimitExceeded,
    UndecodableAudio,
    UnsupportedFormat,
)

from .conftest import LIMITS
from .sounds import babble, encode, float_wav, wav


@dataclass
class Canary:
    """A neighbour file that must not be read and a port that nobody may connect to."""

    file: Path
    port: int
    connections: int = 0


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    file = tmp_path / "canary.wav"
    file.write_bytes(float_wav(babble(1)))
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Canary(file, server.getsockname()[1])
        server.settimeout(0.1)
        running = threading.Event()

        def listen() -> None:
            while not running.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                found.connections += 1
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield found
        running.set()
        thread.join(20)


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile canary.wav\nfile {file}\nfile {url}",
    "ffconcat_unsafe": "ffconcat version 1.0\noption safe 0\nfile '{file}'\n",
    "hls": (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXTINF:1.0,\n{url}\n#EXTINF:1.0,\ncanary.wav\n#EXTINF:1.0,\n{file}\n#EXT-X-ENDLIST\n"
    ),
    "hls_master": (
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=mp4a\n{url}\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{url}"\n'
    ),
    "hls_key": (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
        '#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXT-X-MAP:URI="{url}"\n#EXTINF:1,\n{url}\n'
    ),
    "sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    ),
    "pls": "[playlist]\nNumberOfEntries=2\nFile1={url}\nFile2={file}\n",
    "m3u": "#EXTM3U\n#EXTINF:1,x\n{url}\n{file}\n",
    "asf_redirector": "[Reference]\r\nRef1={url}\r\nRef2={file}\r\n",
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "xspf": (
        '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList><track>'
        "<location>{url}</location></track></trackList></playlist>"
    ),
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4">'
        '<Representation id="0" bandwidth="1"><BaseURL>{url}</BaseURL><SegmentBase/>'
        "</Representation></AdaptationSet></Period></MPD>"
    ),
    "imf": '<AssetMap xmlns="http://x"><Path>{file}</Path></AssetMap>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
    "file_url": "file:{file}\n",
    "concat_url": "concat:{file}|{file}\n",
    "plain_text": "just some text in a file named .mp3\n",
    "html": '<!doctype html><audio src="{url}"></audio>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_file_cannot_make_the_server_open_another(
    kind: str, canary: Canary, tmp_path: Path
) -> None:
    source = tmp_path / "upload.wav"
    url = f"http://127.0.0.1:{canary.port}/canary.wav"
    source.write_text(PLAYLISTS[kind].format(file=canary.file, url=url))
    started = time.monotonic()
    with pytest.raises(UnsupportedFormat):
        decode(source, tmp_path / "spool", LIMITS)
    assert time.monotonic() - started < 30
    assert not canary.connections


def test_a_movie_cannot_refer_to_another_file(canary: Canary, tmp_path: Path) -> None:
    body = encode(babble(1), 16_000, "mov", "pcm_s16le")
    inside = b"dref" + bytes(4) + struct.pack(">I", 1)
    assert body.count(inside) == 1
    at = body.index(inside) + len(inside)
    assert body[at + 4 : at + 8] in (b"url ", b"alis")
    # The flag "the data is in this very file" goes, so the name of another file would count.
    source = tmp_path / "movie.mov"
    source.write_bytes(body[: at + 8] + bytes(4) + body[at + 12 :])
    try:
        decode(source, tmp_path / "spool", LIMITS)
    except BadRequest:
        return
    with Spool(tmp_path / "spool") as spool:
        assert spool.n_samples == 16_000


_PCM = (babble(1) * 32767).astype("<i2").tobytes()

LYING_WAVS = {
    "no_data": wav(b""),
    "data_says_zero": wav(_PCM, data_bytes=0),
    "data_says_4_gib": wav(_PCM, data_bytes=0xFFFFFFFF),
    "data_says_more": wav(_PCM, data_bytes=10 * len(_PCM)),
    "riff_says_zero": wav(_PCM, riff_bytes=0),
    "rate_0": wav(_PCM, rate=0),
    "rate_1": wav(_PCM, rate=1),
    "rate_2_ghz": wav(_PCM, rate=2_000_000_000),
    "rate_negative": wav(_PCM, rate=0xFFFFFFFF),
    "channels_0": wav(_PCM, channels=0),
    "channels_65535": wav(_PCM, channels=65535, block_bytes=65535),
    "channels_200": wav(_PCM, channels=200),
    "bits_0": wav(_PCM, bits=0),
    "bits_1": wav(_PCM, bits=1),
    "bits_255": wav(_PCM, bits=255),
    "block_0": wav(_PCM, block_bytes=0),
    "block_odd": wav(_PCM, block_bytes=3),
    "unknown_codec": wav(_PCM, code=0x4242),
    "says_mp3": wav(_PCM, code=0x55),
    "says_dolby": wav(_PCM, code=0x2000),
    "says_float": wav(_PCM, code=3, bits=32),
    "fmt_huge": wav(_PCM, fmt_bytes=0x7FFFFFFF),
    "fmt_short": wav(_PCM, fmt_bytes=2),
    "odd_length": wav(_PCM[:-1]),
    "header_only": wav(_PCM)[:44],
    "half_a_header": wav(_PCM)[:30],
    "riff_alone": b"RIFF",
}


def _outcome(source: Path) -> str:
    """ "sound" or the code of a 4xx; anything else is raised."""
    spool = source.with_suffix(".spool")
    try:
        decoded = decode(source, spool, replace(LIMITS, timeout_s=30))
    except BadRequest as error:
        assert error.status < 500
        return error.code
    with Spool(spool) as opened:
        waveform = opened.read(0, opened.n_samples)
    assert len(waveform) == decoded.n_samples
    assert np.isfinite(waveform).all()
    return "sound"


@pytest.mark.parametrize("kind", LYING_WAVS)
def test_a_header_that_lies(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(LYING_WAVS[kind])
    outcome = _outcome(source)
    if kind in ("data_says_zero", "data_says_4_gib", "data_says_more", "riff_says_zero"):
        with Spool(tmp_path / "upload.spool") as spool:
            assert spool.n_samples == 16_000, outcome
    elif kind in ("no_data", "rate_1", "rate_2_ghz", "header_only", "riff_alone"):
        assert outcome in ("undecodable_audio", "unsupported_format")


def test_a_recording_that_was_interrupted_says_so(tmp_path: Path) -> None:
    body = encode(babble(1), 16_000, "mp4", "aac")
    source = tmp_path / "interrupted.m4a"
    source.write_bytes(body[: body.index(b"moov")])
    with pytest.raises(UndecodableAudio, match="index"):
        decode(source, tmp_path / "spool", LIMITS)


def test_a_chain_with_a_broken_link_gives_the_others(tmp_path: Path) -> None:
    link = encode(babble(1, 48_000), 48_000, "ogg", "libopus")
    broken = link[:200].replace(b"OpusHead", b"NotOpus!") + link[200:]
    source = tmp_path / "chain.ogg"
    source.write_bytes(link + broken + link)
    decode(source, tmp_path / "spool", LIMITS)
    with Spool(tmp_path / "spool") as spool:
        assert spool.n_samples == 32_000


def test_a_bomb_ends_at_the_longest_recording(tmp_path: Path) -> None:
    source = tmp_path / "bomb.flac"
    source.write_bytes(encode(np.zeros(1200 * 8000), 8000, "flac", "flac"))
    assert source.stat().st_size < 300_000
    with pytest.raises(DecodeLimitExceeded):
        decode(source, tmp_path / "spool", replace(LIMITS, max_duration_s=600))
    assert {path.name for path in tmp_path.iterdir()} == {"bomb.flac"}


MUTATED = (
    ("wav", "pcm_s16le", 16_000), ("flac", "flac", 16_000), ("mp3", "libmp3lame", 16_000),
    ("mp4", "aac", 16_000), ("ogg", "libopus", 48_000), ("matroska", "flac", 16_000),
    ("adts", "aac", 16_000), ("mpegts", "mp2", 16_000), ("avi", "pcm_s16le", 16_000),
    ("wv", "wavpack", 16_000), ("mov", "alac", 16_000), ("caf", "pcm_s16be", 16_000),
)  # fmt: skip


def _mutations(body: bytes, seed: int) -> Iterator[bytes]:
    """Cut short, and with bytes changed in the header or anywhere."""
    random_source = random.Random(seed)
    yield body[: len(body) // 2]
    yield body[: 48 + random_source.randrange(64)]
    for region, changes in ((200, 1), (200, 16), (len(body), 8), (len(body), 300)):
        mutated = bytearray(body)
        for _ in range(changes):
            mutated[random_source.randrange(min(region, len(body)))] = random_source.randrange(256)
        yield bytes(mutated)


def test_damaged_files_of_every_kind(tmp_path: Path) -> None:
    sources = []
    for seed, (container, codec, rate) in enumerate(MUTATED):
        body = encode(babble(1, rate), rate, container, codec)
        for index, mutated in enumerate(_mutations(body, seed)):
            source = tmp_path / f"{container}_{index}"
            source.write_bytes(mutated)
            sources.append(source)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(_outcome, sources))
    assert len(outcomes) == 72
    assert outcomes.count("sound") > 30
    assert {"sound", "unsupported_format", "undecodable_audio"} >= set(outcomes)


def test_random_bytes(tmp_path: Path) -> None:
    for seed in range(4):
        source = tmp_path / str(seed)
        source.write_bytes(random.Random(seed).randbytes(50_000))
        _outcome(source)
