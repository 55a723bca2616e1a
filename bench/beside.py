"""`python -m bench.beside`: how long a voice note waits beside strangers' long recordings.

As many long recordings as the backend has workers are under way; then clips of 5 s are sent, one
after the other, the way OpenAI's clients do. The same with workers for short recordings, as is the
default, and without (`SHORT_WORKERS_S=0`), and with nobody else there.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray

from bench.common import SPEECH
from stenograf.client import Client
from stenograf.contract.jobs import JobStatus
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.services import Services, running

LONG = 4  # as WORKERS has it
CLIP_S = 5
WAYS = {"without": {"SHORT_WORKERS_S": "0"}, "with": {}}
_ANSWER_S = 7200.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long ones")
    parser.add_argument("--window-s", type=float, default=0.5, help="the fake engine's time")
    parser.add_argument("--model", type=Path, help="a folder with weights, in place of the fake")
    parser.add_argument(
        "--clips", type=int, default=5, help="beside the long ones, at most, each way"
    )
    parsed = parser.parse_args()
    settings = {"ENGINE": "fake", "FAKE_DELAY_S": str(parsed.window_s)}
    if parsed.model:
        settings = {"LOCAL_LLM_MODEL": str(parsed.model.resolve()), "DEVICE": "cpu"}
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == SAMPLE_RATE
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    for way, lanes in WAYS.items():
        with running(settings, lanes, timeout_s=600) as services:
            alone_s = [clip_s(services, speech, number) for number in range(parsed.clips)]
            beside_s, long_s = beside(services, speech, parsed.minutes, parsed.clips)
        print(
            f"{way:>8}: alone {statistics.median(alone_s):.2f} s; beside {LONG} recordings of "
            f"{parsed.minutes:g} min {', '.join(f'{taken_s:.2f}' for taken_s in beside_s)} s; "
            f"these took {long_s:.0f} s"
        )


def beside(
    services: Services, speech: NDArray[np.float32], minutes: float, clips: int
) -> tuple[list[float], float]:
    """Seconds of each clip sent while all of the long ones ran, and of these together."""
    client = Client(services.backend.url)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="beside-")))
        whole = np.resize(speech, round(minutes * 60 * SAMPLE_RATE))
        began = time.monotonic()
        jobs = []
        for number in range(LONG):
            path = folder / f"long{number}.flac"
            path.write_bytes(flac(np.roll(whole, number * 7 * SAMPLE_RATE)))
            jobs.append(client.submit(path, TranscribeOptions()).id)
        for job_id in jobs:
            while not client.job(job_id).progress.windows_done:
                time.sleep(0.05)
        taken_s: list[float] = []
        while len(taken_s) < clips and all(running_now(client, job_id) for job_id in jobs):
            taken_s.append(clip_s(services, speech, 100 + len(taken_s)))
        for job_id in jobs:
            client.wait(job_id)
        return taken_s, time.monotonic() - began


def running_now(client: Client, job_id: str) -> bool:
    """Whether somebody works on the job."""
    return client.job(job_id).status is JobStatus.RUNNING


def clip_s(services: Services, speech: NDArray[np.float32], number: int) -> float:
    """Seconds from sending a clip, another one for each number, to its text."""
    start = number * SAMPLE_RATE // 7
    sound = flac(speech[start : start + CLIP_S * SAMPLE_RATE])
    began = time.monotonic()
    answer = requests.post(
        f"{services.backend.url}/v1/audio/transcriptions",
        files={"file": ("clip.flac", sound, "audio/flac")},
        data={"model": "whisper-1"},
        timeout=_ANSWER_S,
    )
    answer.raise_for_status()
    return time.monotonic() - began


def flac(samples: NDArray[np.float32]) -> bytes:
    """16-bit mono FLAC."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


if __name__ == "__main__":
    main()
