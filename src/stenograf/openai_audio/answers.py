"""A transcript in OpenAI's answers, whole."""

import json
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript
from stenograf.openai_audio.request import AudioRequest
from stenograf.transcripts.clock import milliseconds
from stenograf.transcripts.writers import render, verbose

ENCODED_PER_S = 50
"""Positions of Whisper's encoder in a second of sound: what `usage` counts as audio tokens."""

_UNKNOWN_SPEAKER = "A"


def answer(transcript: Transcript, asked: AudioRequest) -> bytes:
    """The body of an answer that is not streamed, UTF-8."""
    if asked.format == "text":
        return f"{transcript.text}\n".encode("utf-8", "replace")
    if asked.format in ("srt", "vtt"):
        return render(transcript, asked.format).body
    return as_json(answer_shape(transcript, asked))


def as_json(shape: Mapping[str, Any]) -> bytes:
    """Data as the body of an answer."""
    return json.dumps(shape, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def answer_shape(transcript: Transcript, asked: AudioRequest) -> dict[str, Any]:
    """The data of the three JSON formats."""
    if asked.format == "diarized_json":
        return diarized(transcript)
    shape = verbose(transcript, asked.granularities)
    if asked.format == "json":
        shape = {"text": shape["text"], "usage": shape["usage"]}
        if asked.logprobs:
            shape["logprobs"] = logprobs(transcript.segments)
        if asked.languages:
            shape["languages"] = languages_of(transcript)
    elif asked.logprobs:
        for row, segment in zip(shape.get("segments", ()), transcript.segments, strict=False):
            row["logprobs"] = logprobs([segment])
    return shape


def diarized(transcript: Transcript) -> dict[str, Any]:
    """`diarized_json`: speakers are A, B, … in the order in which they begin to speak."""
    speakers = Speakers()
    return {
        "task": "transcribe",
        "duration": milliseconds(transcript.duration) / 1000,
        "text": transcript.text,
        "segments": [
            diarized_segment(index, segment, speakers)
            for index, segment in enumerate(transcript.segments)
        ],
        "usage": {"type": "duration", "seconds": ceil(transcript.duration / SAMPLE_RATE)},
    }


def diarized_segment(index: int, segment: Segment, speakers: "Speakers") -> dict[str, Any]:
    """One row of `diarized_json`, which is also the event of a stream."""
    return {
        "type": "transcript.text.segment",
        "id": segment_id(index),
        "start": milliseconds(segment.start) / 1000,
        "end": milliseconds(segment.end) / 1000,
        "speaker": speakers.letter(segment.speaker),
        "text": segment.text.strip(),
    }


def segment_id(index: int) -> str:
    """What links a stream's pieces of text to their segment."""
    return f"seg_{index}"


class Speakers:
    """Names speakers in the order in which they come. Without any, one person speaks: A."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, speaker: str | None) -> str:
        """A … Z, then AA, AB …"""
        if speaker is None:
            return _UNKNOWN_SPEAKER
        return self._letters.setdefault(speaker, _column(len(self._letters)))


def _column(index: int) -> str:
    first, last = divmod(index, 26)
    return (_column(first - 1) if first else "") + chr(ord("A") + last)


def logprobs(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """Tokens with their text, bytes and natural-log probability.

    A segment whose text was mended after it was recognized has none: they would be another's.
    """
    return [
        {"token": score.text, "bytes": list(score.utf8), "logprob": score.logprob}
        for segment in segments
        if _spelled(segment) == " ".join(segment.text.split())
        for score in segment.scores
    ]


def _spelled(segment: Segment) -> str:
    written = bytes(byte for score in segment.scores for byte in score.utf8)
    return " ".join(written.decode("utf-8", "replace").split())


def token_usage(transcript: Transcript) -> dict[str, Any]:
    """What a stream says at its end: encoder positions heard, text tokens written."""
    heard = ceil(transcript.duration * ENCODED_PER_S / SAMPLE_RATE)
    # a segment that was mended at a cut has no tokens of its own any more
    written = sum(len(s.tokens or s.text.split()) for s in transcript.segments)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": written,
        "total_tokens": heard + written,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
    }


def languages_of(transcript: Transcript) -> list[dict[str, str]]:
    """`languages` of the newer models' answers; empty where nothing was heard."""
    return [] if transcript.language == "und" else [{"code": transcript.language}]
