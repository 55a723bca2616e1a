"""What the decoding process does; `decode_server` starts it, one for each file.

It has an open source, an open spool and its limits, takes away its own right to open anything more,
and answers in lines of JSON on standard output: progress, then one result or one error. Whatever a
file does to FFmpeg happens here and ends with this process.
"""

import errno
import json
import os
import resource
import sys
import time
from itertools import chain
from traceback import format_exc
from typing import Any

# PyAV loads the subtitle modules when first needed; by then no file can be opened any more.
import av.logging
import av.subtitles.codeccontext
import av.subtitles.stream
import numpy as np

from stenograf.audio.container import ANOTHER_COPY, NotReadable, Recording, open_recordings
from stenograf.audio.envelope import EnvelopeMeter
from stenograf.audio.meter import Meter
from stenograf.audio.mix import Mixer
from stenograf.audio.spool import SAMPLE_BYTES, SpoolWriter
from stenograf.audio.task import ChildTask
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

_PROGRESS_EVERY_S = 0.2
_LOOK_AT_DISK_EVERY_SAMPLES = 600 * SAMPLE_RATE


def rehearse() -> None:
    """Measure a second of sound, so that what numpy loads and allocates on first use is there."""
    meter = Meter()
    meter.add(np.ones(SAMPLE_RATE, np.float32))
    assert meter.measurement.rms


def main(task: ChildTask) -> int:
    """Decode as `task` says; the answer's last line holds the outcome. Gives the exit code."""
    av.logging.set_libav_level(av.logging.PANIC)
    try:
        _limit_resources(task)
        _say({"result": _decode(task)})
    except NotReadable as error:
        _say_error(error.code, error.message, error.hint)
    except MemoryError:
        _say_error(
            "decode_limit_exceeded",
            "Decoding this file takes more memory than is allowed.",
            "Convert it to WAV, MP3 or FLAC and try again.",
        )
    except OSError as error:
        _say_error(*_disk_error(error))
    except Exception:
        # Hostile bytes reach many corners of PyAV; whatever this is, the file is the reason.
        _say_error("undecodable_audio", "The file cannot be decoded.", ANOTHER_COPY, format_exc())
    return 0


def _decode(task: ChildTask) -> dict[str, Any]:
    with os.fdopen(task.source_fd, "rb", buffering=0) as source:
        recordings = open_recordings(source)
        first = next(recordings)
        mixer = Mixer(chain([first], recordings))
        meter, envelope = Meter(), EnvelopeMeter()
        spool = _BoundedSpool(task)
        progress = _Progress(first)
        for block in mixer.blocks():
            spool.append(block)
            meter.add(block)
            envelope.add(block)
            progress.at(spool.n_samples)
            if spool.full:
                break
        if not spool.n_samples:
            raise NotReadable(
                "undecodable_audio", "The file holds no sound that can be decoded.", ANOTHER_COPY
            )
        drawn = envelope.envelope
        sound_tracks = len(first.container.streams.audio)
        return {
            "n_samples": spool.n_samples,
            "measurement": meter.measurement._asdict(),
            "overview": {
                "bucket_samples": drawn.bucket_samples,
                "minimum": _rounded(drawn.minimum),
                "maximum": _rounded(drawn.maximum),
            },
            "source": _source(first),
            "findings": vars(mixer.findings) | {"other_tracks": sound_tracks - 1},
        }


def _source(recording: Recording) -> dict[str, Any]:
    context = recording.stream.codec_context
    return {
        "container": recording.container.format.name,
        "codec": context.name,
        "sample_rate": context.sample_rate,
        "channels": context.channels,
        "sound_tracks": len(recording.container.streams.audio),
        "duration_s": recording.duration_s,
    }


def _rounded(values: Waveform) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


class _BoundedSpool(SpoolWriter):
    """A spool that ends where the recording becomes too long or the disk too full."""

    def __init__(self, task: ChildTask) -> None:
        super().__init__(task.spool_fd)
        self._task = task
        self._looked_at = -_LOOK_AT_DISK_EVERY_SAMPLES

    def append(self, block: Waveform) -> None:
        total = self.n_samples + len(block)
        if total > self._task.max_duration_s * SAMPLE_RATE:
            raise NotReadable(
                "decode_limit_exceeded",
                f"The recording is longer than {self._task.max_duration_s / 3600:.3g} hours.",
                "Cut it into shorter recordings.",
            )
        if total * SAMPLE_BYTES > self._task.max_spool_bytes:
            raise OSError(errno.EFBIG, "the spool is full")
        if total - self._looked_at > _LOOK_AT_DISK_EVERY_SAMPLES:
            self._looked_at = total
            disk = os.fstatvfs(self._task.spool_fd)
            if disk.f_bavail * disk.f_frsize < self._task.min_free_bytes:
                raise OSError(errno.ENOSPC, "the disk is nearly full")
        super().append(block)

    @property
    def full(self) -> bool:
        """Whether nobody asks for more."""
        wanted_s = self._task.stop_after_s
        return wanted_s is not None and self.n_samples >= wanted_s * SAMPLE_RATE


class _Progress:
    def __init__(self, recording: Recording) -> None:
        claimed_s = recording.duration_s
        self._total = None if claimed_s is None else round(claimed_s * SAMPLE_RATE)
        self._said_at = time.monotonic()

    def at(self, n_samples: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= _PROGRESS_EVERY_S:
            self._said_at = now
            believable = self._total is not None and n_samples <= self._total
            _say({"progress": [n_samples, self._total if believable else None]})


def _disk_error(error: OSError) -> tuple[str, str, str | None]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "out_of_resources", "The server's disk is full.", "Free some space on the server."
    if error.errno == errno.EFBIG:
        return (
            "decode_limit_exceeded",
            "The decoded recording takes more disk space than is allowed.",
            "Cut it into shorter recordings.",
        )
    return "undecodable_audio", f"The file cannot be read: {error.strerror or error}.", None


def _limit_resources(task: ChildTask) -> None:
    cpu_s = int(task.timeout_s) + 5
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (task.max_spool_bytes, task.max_spool_bytes))
    resource.setrlimit(resource.RLIMIT_DATA, (task.memory_bytes, task.memory_bytes))
    # What is open stays open; no file and no connection can be opened from here on.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _say_error(code: str, message: str, hint: str | None = None, detail: str | None = None) -> None:
    _say({"error": {"code": code, "message": message, "hint": hint, "detail": detail}})
