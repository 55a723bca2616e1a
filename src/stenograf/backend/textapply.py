"""Puts the punctuation that a language model gave back into a transcript with its times."""

from collections.abc import Sequence

from stenograf.backend.textsplit import deal, word_spans
from stenograf.contract.transcript import Segment, Transcript, Word


def punctuated(transcript: Transcript, passages: Sequence[str]) -> Transcript:
    """The transcript with each segment spelled as in `passages`, one for each segment.

    Times do not change; words are respelled with their segment.
    """
    pairs = zip(transcript.segments, passages, strict=True)
    segments = tuple(_segment(segment, passage) for segment, passage in pairs)
    return transcript.model_copy(update={"segments": segments})


def _segment(segment: Segment, passage: str) -> Segment:
    if not passage:
        return segment
    words = _words(segment.words, passage)
    return segment.model_copy(update={"text": passage, "words": words, "tokens": ()})


def _words(words: Sequence[Word], passage: str) -> tuple[Word, ...]:
    counts = [len(word_spans(word.text)) for word in words]
    if sum(counts) != len(word_spans(passage)):
        return tuple(words)  # the recognizer's words are not its text; they keep their spelling
    lead = " " if words and words[0].text.startswith(" ") else ""
    pairs = zip(words, deal(lead + passage, counts), strict=True)
    return tuple(word.model_copy(update={"text": part}) for word, part in pairs if part)
