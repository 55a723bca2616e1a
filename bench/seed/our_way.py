"""What our sender does, and our sound processing alone."""

from pathlib import Path

import requests

from stenograf.client import Client
from stenograf.contract.jobs import WindowEvent
from stenograf.contract.options import NormalizeOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE

Windows = list[tuple[float, float]]


def send(path: Path, url: str) -> Windows:
    """Send a file, wait for its text; gives the borders of its windows in seconds."""
    client = Client(url)
    job = client.submit(path, TranscribeOptions(normalize=NormalizeOptions(method="rms")))
    client.wait(job.id)
    client.transcript(job.id, "txt")
    return _windows(f"{url}/v1/jobs/{job.id}/events")


def _windows(url: str) -> Windows:
    windows = []
    with requests.get(url, stream=True, timeout=30) as stream:
        event = ""
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event == "window":
                window = WindowEvent.model_validate_json(line.removeprefix("data:"))
                windows.append((window.start / SAMPLE_RATE, window.end / SAMPLE_RATE))
    return sorted(windows)


def process(path: Path) -> None:
    """Decode, resample, meter, find speech and cut."""
    # the sender does not need these, and its memory is measured
    from stenograf.audio import loudness
    from stenograf.audio.decode import DecodeLimits, decode
    from stenograf.audio.spool import Spool
    from stenograf.audio.vad import VoiceDetector
    from stenograf.audio.windows import cut, quietest_in

    spool_path = path.with_suffix(".spool")
    decoded = decode(path, spool_path, DecodeLimits())
    options = TranscribeOptions()
    gain, _ = loudness.gain(decoded.level, options.normalize)
    with Spool(spool_path) as spool:
        spans = VoiceDetector().spans(spool.blocks(), options.cut, gain)
        cut(spans, spool.n_samples, options.cut, quietest_in(spool))
