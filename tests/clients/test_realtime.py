"""Live transcription with JavaScript clients as they are."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from ..servers import Process
from .kit import RECORDING, assert_heard, run

RATE = 24_000


@pytest.fixture
def pcm(tmp_path: Path) -> Path:
    sound, rate = soundfile.read(RECORDING, dtype="float32")
    samples = (np.clip(soxr.resample(sound, rate, RATE), -1, 1) * 32767).astype("<i2")
    path = tmp_path / "recording.pcm"
    path.write_bytes(samples.tobytes())
    return path


@pytest.fixture
def identity(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, certificate


@pytest.mark.node
def test_openai_and_vercel_transcribe_live(
    backend: Process, node: Path, pcm: Path, identity: tuple[Path, Path]
) -> None:
    command = ["node", "realtime.mjs", backend.url, pcm, *identity]
    answers = json.loads(run(command, cwd=node, NODE_EXTRA_CA_CERTS=str(identity[1])))
    assert_heard(answers["sdk"]["text"], RECORDING)
    assert_heard(answers["vercel"]["text"], RECORDING)
    events = answers["sdk"]["events"]
    assert events[0] == "session.created"
    assert events.index("session.updated") < events.index("input_audio_buffer.committed")
