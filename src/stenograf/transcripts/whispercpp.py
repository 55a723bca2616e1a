"""The answers of whisper.cpp's server, field by field."""

from typing import Any

from stenograf.contract.transcript import Segment, Transcript
from stenograf.transcripts.clock import milliseconds
from stenograf.transcripts.languages import name_of

_NO_DTW = -1.0


def plain(transcript: Transcript) -> str:
    """One segment a line, each behind a space, a speaker before its words."""
    return "".join(
        f" {f'(speaker {segment.speaker}) ' if segment.speaker else ''}{segment.text.strip()}\n"
        for segment in transcript.segments
    )


def verbose_json(transcript: Transcript, *, timestamps: bool = True) -> dict[str, Any]:
    """`verbose_json`: the words stand inside the segments; `timestamps` off leaves times out."""
    share = transcript.language_probability
    shape: dict[str, Any] = {
        "task": transcript.task,
        "language": name_of(transcript.language),
        "duration": milliseconds(transcript.duration) / 1000,
        "text": plain(transcript),
        "segments": [
            _segment(index, segment, timestamps)
            for index, segment in enumerate(transcript.segments)
        ],
        "detected_language": name_of(transcript.language),
    }
    if share is not None:
        shape["detected_language_probability"] = share
        shape["language_probabilities"] = {transcript.language: share}
    return shape


def _segment(index: int, segment: Segment, timestamps: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"id": index, "text": f" {segment.text.strip()}"}
    if timestamps:
        shape |= {
            "start": milliseconds(segment.start) / 1000,
            "end": milliseconds(segment.end) / 1000,
        }
    if segment.speaker is not None:
        shape["speaker"] = segment.speaker
    shape["tokens"] = list(segment.tokens)
    if timestamps:
        shape["words"] = [
            {
                "word": f" {word.text.strip()}",
                "start": milliseconds(word.start) / 1000,
                "end": milliseconds(word.end) / 1000,
                "t_dtw": _NO_DTW,
                "probability": 0.0 if word.probability is None else word.probability,
            }
            for word in segment.words
        ]
    return shape | {
        "temperature": segment.temperature,
        "avg_logprob": 0.0 if segment.avg_logprob is None else segment.avg_logprob,
        "no_speech_prob": segment.no_speech_prob or 0.0,
    }
