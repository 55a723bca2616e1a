"""The form that carries one window to a model service: ours, or another with OpenAI's API."""

import os
import uuid
from dataclasses import dataclass

import numpy as np
import soundfile

from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform, to_s16, wav_bytes
from stenograf.scratch import open_scratch

Fields = list[tuple[str, str]]

_TRANSCRIPTIONS, _TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


@dataclass(frozen=True)
class WindowForm:
    """Where a form goes, and what is in it beside the sound."""

    path: str
    fields: Fields
    flac: bool = False

    def body(self, waveform: Waveform) -> tuple[bytes, str]:
        """The multipart body with the window, mono 16 kHz, as a file of s16; its media type."""
        sound, kind = (_flac(waveform), "flac") if self.flac else (wav_bytes(waveform), "wav")
        boundary = f"stenograf-{uuid.uuid4().hex}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="window.{kind}"\r\nContent-Type: audio/{kind}\r\n\r\n'
        )
        body = b"".join(
            ["".join([*parts, head]).encode(), sound, f"\r\n--{boundary}--\r\n".encode()]
        )
        return body, f"multipart/form-data; boundary={boundary}"


def our_form(options: TranscribeOptions, model: str) -> WindowForm:
    """Everything that decides the text, for our own model service, with 40 % less sound to move.

    Others get WAV, which all of them read.
    """
    decode, guard = options.decode, options.guard
    fields = [
        ("model", model),
        ("response_format", "verbose_json"),
        ("task", decode.task),
        ("temperature", f"{decode.temperature:g}"),
        ("beam_size", str(decode.beam_size)),
        ("compression_ratio_threshold", f"{guard.compression_ratio_threshold:g}"),
        ("logprob_threshold", f"{guard.logprob_threshold:g}"),
        ("no_speech_threshold", f"{guard.no_speech_threshold:g}"),
        *_granularities(options),
    ]
    if decode.token_logprobs:
        fields.append(("include[]", "logprobs"))
    if decode.language == "auto":
        fields.append(("detect_language", "true"))
    else:
        fields.append(("language", decode.language))
    fields += [("languages[]", language) for language in decode.languages]
    if decode.prompt:
        fields.append(("prompt", decode.prompt))
    return WindowForm(_TRANSCRIPTIONS, fields, flac=True)


def plain_form(options: TranscribeOptions, model: str, *, times: bool = True) -> WindowForm:
    """OpenAI's own fields, for any other server; without `times` text is all that is asked for.

    What OpenAI has no field for stays here, but for beams, which several servers take by this
    name. To name no language is to have it detected.
    """
    decode = options.decode
    fields = [("model", model), ("response_format", "verbose_json" if times else "json")]
    fields.append(("temperature", f"{decode.temperature:g}"))
    if decode.beam_size > 1:
        fields.append(("beam_size", str(decode.beam_size)))
    if decode.prompt:
        fields.append(("prompt", decode.prompt))
    if decode.task == "translate":
        return WindowForm(_TRANSLATIONS, fields)
    if times:
        fields += _granularities(options)
    if decode.language != "auto":
        fields.append(("language", decode.language))
    return WindowForm(_TRANSCRIPTIONS, fields)


def _flac(waveform: Waveform) -> bytes:
    """The samples that WAV would have; more effort than the least hardly makes them smaller."""
    samples = np.frombuffer(to_s16(waveform), "<i2")
    fd = open_scratch()  # a Python file would be called hundreds of times, each for the lock
    try:
        with soundfile.SoundFile(
            fd, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC", compression_level=0.0, closefd=False
        ) as file:
            file.write(samples)
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _granularities(options: TranscribeOptions) -> Fields:
    names = ("segment", "word") if options.decode.word_timestamps else ("segment",)
    return [("timestamp_granularities[]", name) for name in names]
