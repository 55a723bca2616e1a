"""A transcript as OpenAI's server-sent events, piece by piece."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stenograf.contract.transcript import Segment, Transcript
from stenograf.openai_audio.answers import (
    Speakers,
    diarized_segment,
    languages_of,
    logprobs,
    segment_id,
    token_usage,
)
from stenograf.openai_audio.request import AudioRequest

PING = b": ping\n\n"
"""A comment: every client skips it, and no read timeout between the two ends expires."""

MEDIA_TYPE = "text/event-stream"
HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Pieces:
    """Makes the events of one transcript. All deltas, joined, are the text of `done`."""

    def __init__(self, asked: AudioRequest) -> None:
        self._asked = asked
        self._speakers = Speakers()
        self._text = ""
        self._sent: list[Segment] = []

    @property
    def begun(self) -> bool:
        """Whether any text was sent."""
        return bool(self._sent)

    def add(self, segments: Iterable[Segment]) -> Iterator[bytes]:
        """Events for segments that will not change any more, in file order."""
        for segment in segments:
            if segment.text.strip():
                yield from self._piece(segment)

    def finish(self, transcript: Transcript) -> Iterator[bytes]:
        """Events for what was not sent yet, and the end.

        Raises ValueError when `transcript` does not begin with what was sent.
        """
        spoken = [segment for segment in transcript.segments if segment.text.strip()]
        yield from self.add(spoken[len(self._sent) :])
        if self._text != transcript.text:
            raise ValueError("the transcript is not what was streamed")
        done: dict[str, Any] = {
            "type": "transcript.text.done",
            "text": transcript.text,
            "usage": token_usage(transcript),
        }
        if self._asked.logprobs:
            done["logprobs"] = logprobs(transcript.segments)
        if self._asked.languages:
            done["languages"] = languages_of(transcript)
        yield event(done)

    def _piece(self, segment: Segment) -> Iterator[bytes]:
        index = len(self._sent)
        delta = (" " if self._sent else "") + segment.text.strip()
        self._sent.append(segment)
        self._text += delta
        shape: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
        if self._asked.logprobs:
            shape["logprobs"] = logprobs([segment])
        if self._asked.format == "diarized_json":
            shape["segment_id"] = segment_id(index)
        yield event(shape)
        if self._asked.format == "diarized_json":
            yield event(diarized_segment(index, segment, self._speakers))


def event(data: Mapping[str, Any]) -> bytes:
    """One event; its name is the data's `type`, for clients that go by names."""
    body = json.dumps(data, ensure_ascii=False, allow_nan=False)
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {body}\n\n".encode("utf-8", "replace")


def error_event(error: Mapping[str, Any]) -> bytes:
    """The end of a stream that failed; `error` has OpenAI's fields."""
    return event({"error": dict(error)})
