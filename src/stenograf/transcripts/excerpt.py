"""A part of a transcript: what is said between two moments."""

from stenograf.contract.transcript import Segment, Transcript, Word


def excerpt(transcript: Transcript, start: int, end: int) -> Transcript:
    """Words, and segments without words, whose middle lies in [start, end); times stay the file's.

    `start` and `end` are samples.
    """
    parts = [_part(segment, start, end) for segment in transcript.segments]
    kept = tuple(part for part in parts if part is not None)
    return transcript.model_copy(update={"segments": kept})


def _part(segment: Segment, start: int, end: int) -> Segment | None:
    if not segment.words:
        return segment if _inside(segment, start, end) else None
    words = tuple(word for word in segment.words if _inside(word, start, end))
    if len(words) == len(segment.words):
        return segment
    if not words:
        return None
    glue = "" if _carry_spaces(segment) else " "
    return segment.model_copy(
        update={
            "start": words[0].start,
            "end": words[-1].end,
            "text": glue.join(word.text for word in words).strip(),
            "words": words,
            "tokens": (),  # nobody knows which of them these words are
        }
    )


def _inside(one: Segment | Word, start: int, end: int) -> bool:
    return 2 * start <= one.start + one.end < 2 * end


def _carry_spaces(segment: Segment) -> bool:
    return "".join(word.text for word in segment.words).split() == segment.text.split()
