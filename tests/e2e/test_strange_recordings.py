"""What people really drop into the page: it ends in text, in a reason, or in a typed error."""

import base64
import io
import time
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from stenograf.contract.errors import by_code
from stenograf.contract.pcm import SAMPLE_RATE, wav_bytes


def _tone(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def _noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng(7)
    return (0.05 * random.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


def _float_wav(samples: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def _mp3(samples: np.ndarray[Any, Any], sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="MP3")
    return buffer.getvalue()


def _lying_header() -> bytes:
    honest = bytearray(wav_bytes(_noise(1.0)))
    honest[22:24] = (0xFFFF).to_bytes(2, "little")  # channels
    honest[24:28] = (2_000_000_000).to_bytes(4, "little")  # Hz
    return bytes(honest)


def _nan() -> bytes:
    samples = _noise(2.0)
    samples[1000:2000] = np.nan
    samples[3000] = np.inf
    return _float_wav(samples)


NOTHING_SAID = {
    "silence.wav": wav_bytes(np.zeros(5 * SAMPLE_RATE, np.float32)),
    "one-sample.wav": wav_bytes(np.zeros(1, np.float32)),
    "noise.wav": wav_bytes(_noise(5.0)),
    "sine.wav": wav_bytes(_tone(5.0)),
    "not-a-number.wav": _nan(),
    "rate-changes.mp3": _mp3(_tone(1.0), 44_100) + _mp3(_tone(1.0), 16_000),
}
NO_SOUND = {
    "empty.wav": b"",
    "letter.mp3": "Здравствуйте, это письмо, а не запись.".encode() * 40,
    "lying.wav": _lying_header(),
    "playlist.wav": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "list.m3u8": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
}


def recognize(url: str, name: str, body: bytes) -> dict[str, Any]:
    """Upload, start a job, wait for its end; the job's view."""
    created = requests.post(
        f"{url}/files",
        data=body,
        headers={
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(len(body)),
            "Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}",
            "Content-Type": "application/offset+octet-stream",
        },
        timeout=30,
    )
    assert created.status_code == 201, created.text
    upload_id = created.headers["Location"].rsplit("/", 1)[-1]
    job = requests.post(f"{url}/v1/jobs", json={"upload_id": upload_id}, timeout=30)
    assert job.status_code == 201, job.text
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        view: dict[str, Any] = requests.get(f"{url}/v1/jobs/{job.json()['id']}", timeout=30).json()
        if view["status"] in ("completed", "failed", "cancelled"):
            return view
        time.sleep(0.05)
    pytest.fail(f"{name} is still {view['status']}")


def test_a_recording_without_speech_gives_empty_text_and_a_reason(house: Any) -> None:
    for name, body in NOTHING_SAID.items():
        view = recognize(house.url, name, body)
        assert view["status"] == "completed", (name, view)
        answer = requests.get(f"{house.url}/v1/jobs/{view['id']}/transcript?format=json")
        transcript = answer.json()
        assert transcript["text"] == "", name
        assert any(w["code"] in ("no_speech", "no_sound") for w in transcript["warnings"]), name


def test_what_holds_no_sound_fails_with_a_typed_error_and_a_way_out(house: Any) -> None:
    for name, body in NO_SOUND.items():
        view = recognize(house.url, name, body)
        assert view["status"] == "failed", (name, view)
        assert 400 <= by_code(view["error"]["code"]).status < 500, (name, view["error"])
        assert view["error"]["hint"], name
        direct = requests.post(
            f"{house.url}/v1/audio/transcriptions",
            files={"file": (name, body)},
            data={"model": "whisper-1"},
            timeout=60,
        )
        assert 400 <= direct.status_code < 500, (name, direct.text)
        assert direct.json()["error"]["message"], name
