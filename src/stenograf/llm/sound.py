"""A request's body as a waveform, and a long waveform as windows."""

from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from stenograf.contract.errors import DecodeLimitExceeded, UndecodableAudio, UnsupportedFormat
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

_MAX_CHANNELS = 32
_MAX_RATE = 384_000
_BLOCK_S = 31  # a window in one piece
_QUIET_BLOCK = SAMPLE_RATE // 20  # a cut falls in the middle of the quietest 50 ms
_SEARCH_S = 5
_FLOATS = ("FLOAT", "DOUBLE")  # what may hold samples that are not finite


def read_waveform(file: BinaryIO, max_audio_s: float) -> Waveform:
    """Read WAV, FLAC, Ogg or MP3 as a waveform: float32 (n_samples,), mono mean, 16 kHz.

    Samples that are not finite become 0. Raises UnsupportedFormat for another container,
    UndecodableAudio for a broken or empty one, DecodeLimitExceeded beyond `max_audio_s` seconds.
    """
    head = file.read(12)
    file.seek(0)
    if not head:
        raise UndecodableAudio("The file is empty.", param="file")
    if not _is_supported(head):
        raise UnsupportedFormat(
            "The model service reads WAV, FLAC, Ogg and MP3 only.",
            hint="Send other formats to the backend (port 8009), which reads any audio or video.",
            param="file",
        )
    try:
        with soundfile.SoundFile(file) as source:
            return _read(source, max_audio_s)
    except soundfile.LibsndfileError as exc:
        raise UndecodableAudio(
            f"The sound cannot be read: {exc.error_string}", param="file"
        ) from exc


def _is_supported(head: bytes) -> bool:
    riff = head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE"
    # an MPEG audio frame: eleven set bits and a layer, which AAC's ADTS frames lack
    frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0
    return riff or frame or head[:4] in (b"fLaC", b"OggS") or head[:3] == b"ID3"


def _read(source: soundfile.SoundFile, max_audio_s: float) -> Waveform:
    rate, channels = source.samplerate, source.channels
    if not (0 < rate <= _MAX_RATE and 0 < channels <= _MAX_CHANNELS):
        raise UndecodableAudio(
            f"The file claims {rate} Hz and {channels} channels.",
            hint=f"At most {_MAX_RATE} Hz and {_MAX_CHANNELS} channels are read.",
            param="file",
        )
    resampler = None
    if rate != SAMPLE_RATE:
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    pieces: list[Waveform] = []
    read_s = 0.0
    while True:
        block = source.read(_BLOCK_S * rate, dtype="float32", always_2d=True)
        last = len(block) < _BLOCK_S * rate
        read_s += len(block) / rate
        if read_s > max_audio_s:
            raise DecodeLimitExceeded(
                f"The recording is longer than {max_audio_s:g} s.",
                hint="Send it to the backend (port 8009), which cuts it and shows progress.",
                param="file",
            )
        if source.subtype in _FLOATS and not np.isfinite(block).all():
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        mono = block[:, 0] if channels == 1 else block.mean(axis=1)
        if resampler is not None:
            mono = resampler.resample_chunk(mono, last=last)
        pieces.append(mono.astype(np.float32, copy=False))
        if last:
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def cut(waveform: Waveform, max_samples: int) -> list[tuple[int, Waveform]]:
    """Cut a waveform, shape (n_samples,), into (offset, window) of at most `max_samples`.

    A cut falls on the quietest 50 ms among the last 5 s before the limit. Nothing is left out.
    """
    windows: list[tuple[int, Waveform]] = []
    start = 0
    while waveform.shape[0] - start > max_samples:
        end = start + _quietest(waveform[start : start + max_samples])
        windows.append((start, waveform[start:end]))
        start = end
    if waveform.shape[0] > start:
        windows.append((start, waveform[start:]))
    return windows


def _quietest(window: Waveform) -> int:
    first = max(window.shape[0] - _SEARCH_S * SAMPLE_RATE, window.shape[0] // 2)
    blocks = max(1, (window.shape[0] - first) // _QUIET_BLOCK)
    tail = window[first : first + blocks * _QUIET_BLOCK].astype(np.float64)
    energy = np.square(tail).reshape(blocks, -1).sum(axis=1)
    # of equally quiet places the last, so that windows stay full
    quietest = blocks - 1 - int(np.argmin(energy[::-1]))
    return int(first + quietest * _QUIET_BLOCK + _QUIET_BLOCK // 2)
