"""One transcript, every file format: a table of writers over the same cues and the same clock."""

import html
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Any

from stenograf.contract.errors import UnsupportedFormat
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript
from stenograf.transcripts.clock import clock, milliseconds
from stenograf.transcripts.cues import cues
from stenograf.transcripts.languages import name_of

_TAG_LIKE = re.compile(r"<(?=[/A-Za-z])")


@dataclass(frozen=True)
class Rendered:
    """A file: its bytes, its media type, its extension without the dot."""

    body: bytes
    media_type: str
    extension: str


@dataclass(frozen=True)
class Format:
    """A row of the table: how to write a transcript and what the result is called."""

    write: Callable[[Transcript], str]
    media_type: str
    extension: str


def render(transcript: Transcript, format: str) -> Rendered:
    """Write a transcript in one of `FORMATS`, UTF-8.

    Raises UnsupportedFormat for another name.
    """
    row = FORMATS.get(format)
    if row is None:
        known = ", ".join(FORMATS)
        raise UnsupportedFormat(
            f"There is no transcript format called {format[:40]!r}.",
            hint=f"Choose one of: {known}.",
            param="format",
        )
    body = row.write(transcript).encode("utf-8", "replace")
    return Rendered(body, row.media_type, row.extension)


def verbose(
    transcript: Transcript, granularities: Collection[str] = ("segment", "word")
) -> dict[str, Any]:
    """OpenAI's `verbose_json` as data, times in seconds, rounded once to a millisecond."""
    translated = transcript.task == "translate"
    shape: dict[str, Any] = {
        "task": transcript.task,
        "language": "english" if translated else name_of(transcript.language),
        "duration": _seconds(transcript.duration),
        "text": transcript.text,
    }
    if "segment" in granularities:
        shape["segments"] = [
            _verbose_segment(index, segment) for index, segment in enumerate(transcript.segments)
        ]
    if "word" in granularities:
        shape["words"] = [
            {
                "word": word.text.strip(),
                "start": _seconds(word.start),
                "end": _seconds(word.end),
                **({} if word.probability is None else {"probability": word.probability}),
            }
            for segment in transcript.segments
            for word in segment.words
        ]
    shape["usage"] = {"type": "duration", "seconds": ceil(transcript.duration / SAMPLE_RATE)}
    return shape


def _verbose_segment(index: int, segment: Segment) -> dict[str, Any]:
    shape = {
        "id": index,
        "seek": segment.start * 100 // SAMPLE_RATE,  # in Whisper's frames of 10 ms
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": f" {segment.text.strip()}",
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": 0.0 if segment.avg_logprob is None else segment.avg_logprob,
        "compression_ratio": segment.compression_ratio or 0.0,
        "no_speech_prob": segment.no_speech_prob or 0.0,
    }
    return shape if segment.speaker is None else {**shape, "speaker": segment.speaker}


def _seconds(samples: int) -> float:
    return milliseconds(samples) / 1000


def _txt(transcript: Transcript) -> str:
    """One segment a line; a speaker's name where the speaker changes."""
    lines: list[str] = []
    speaker: str | None = None
    for segment in transcript.segments:
        text = _one_line(segment.text)
        if segment.speaker and segment.speaker != speaker:
            text = f"{segment.speaker}: {text}"
        speaker = segment.speaker
        lines.append(text)
    return "".join(f"{line}\n" for line in lines)


def _json(transcript: Transcript) -> str:
    shape = transcript.model_dump(mode="python")
    shape["text"] = transcript.text
    shape["sample_rate"] = SAMPLE_RATE
    return _dumped(shape)


def _verbose_json(transcript: Transcript) -> str:
    return _dumped(verbose(transcript))


def _dumped(shape: dict[str, Any]) -> str:
    return json.dumps(shape, ensure_ascii=False, allow_nan=False)


def _srt(transcript: Transcript) -> str:
    blocks = []
    for number, cue in enumerate(cues(transcript, label_speakers=True), start=1):
        text = "\n".join(_srt_text(line) for line in cue.lines)
        times = f"{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}"
        blocks.append(f"{number}\n{times}\n{text}\n\n")
    return "".join(blocks)


def _srt_text(line: str) -> str:
    """SRT cannot escape: what players take for a tag or a time is written with a look-alike."""
    return _TAG_LIKE.sub("‹", line).replace("{\\", "{ \\").replace("-->", "→")


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n\n"]
    for cue in cues(transcript):
        text = "\n".join(html.escape(line, quote=False) for line in cue.lines)
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        times = f"{clock(cue.start_ms)} --> {clock(cue.end_ms)}"
        blocks.append(f"{times}\n{voice}{text}\n\n")
    return "".join(blocks)


def _tsv(transcript: Transcript) -> str:
    rows = [
        f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{_one_line(segment.text)}\n"
        for segment in transcript.segments
    ]
    return "start\tend\ttext\n" + "".join(rows)


def _one_line(text: str) -> str:
    return " ".join(text.split())


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "txt": Format(_txt, "text/plain; charset=utf-8", "txt"),
        "json": Format(_json, "application/json", "json"),
        "verbose_json": Format(_verbose_json, "application/json", "json"),
        "srt": Format(_srt, "application/x-subrip; charset=utf-8", "srt"),
        "vtt": Format(_vtt, "text/vtt; charset=utf-8", "vtt"),
        "tsv": Format(_tsv, "text/tab-separated-values; charset=utf-8", "tsv"),
    }
)
"""Name to writer; a new format is one more row."""
