"""Repairs what a forced cut inside speech does to the words on both sides of it.

A span of speech longer than a window is cut at its quietest point. If that point still lies in a
word, both windows may write it: once whole and once as a fragment, or twice, or as two halves with
a hyphen; and the first one ends its sentence because its sound ends.
"""

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Word
from stenograf.transcripts.guard import bare

_REACH = SAMPLE_RATE // 5  # a word this near to the cut may have been cut
_MIN_FRAGMENT = 3  # shorter beginnings and ends agree by chance
_SURE = 0.5  # two words that both exceed this probability were both said
_HYPHENS = "-‐‑–—"


def repair(before: Segment, after: Segment, cut: int) -> tuple[Segment | None, Segment | None]:
    """Mend the last segment before the cut at sample `cut` and the first one after it.

    Both in file time. A word written on both sides is kept once, a fragment gives way to the
    whole word, two halves joined by a hyphen become one word, and a full stop that only the cut
    caused is taken back. None stands for a segment of which nothing remains.
    """
    if cut - before.end > _REACH or after.start - cut > _REACH:
        return before, after
    left, right = before.text.split(), after.text.split()
    if not _countable(before, left) or not _countable(after, right):
        return before, after
    word = None if _both_sure(before, after) else _joined(left[-1], right[0])
    if word is None:
        return _reopened(before, after), after
    if bare(word) == bare(right[0]):
        return _without_last(before), _with_first(after, word)
    return _with_last(before, word, after), _without_first(after)


def _countable(segment: Segment, pieces: list[str]) -> bool:
    return bool(pieces) and len(segment.words) in (0, len(pieces))


def _both_sure(before: Segment, after: Segment) -> bool:
    if not before.words or not after.words:
        return False
    sides = (before.words[-1].probability, after.words[0].probability)
    return all(side is not None and side > _SURE for side in sides)


def _joined(last: str, first: str) -> str | None:
    """The one word that both are parts of, or None if they are two words."""
    left, right = bare(last), bare(first)
    if not left or not right:
        return None
    if last[-1] in _HYPHENS and first[0].islower():
        return last.rstrip(_HYPHENS) + first
    if len(left) >= _MIN_FRAGMENT and right.startswith(left):
        return first[0].lower() + first[1:] if last[0].islower() else first
    if len(right) >= _MIN_FRAGMENT and left.endswith(right):
        return last
    return None


def _reopened(before: Segment, after: Segment) -> Segment:
    """Take back the full stop when the next window goes on in lower case."""
    text = before.text.rstrip()
    if not text.endswith((".", "…")) or not after.text.strip()[:1].islower():
        return before
    words = before.words
    if words:
        last = words[-1]
        words = (*words[:-1], last.model_copy(update={"text": last.text.rstrip().rstrip(".…")}))
    return before.model_copy(update={"text": text.rstrip(".…"), "words": words})


def _without_last(segment: Segment) -> Segment | None:
    text = " ".join(segment.text.split()[:-1])
    words = segment.words[:-1]
    return _changed(segment, text, words, end=words[-1].end if words else segment.end)


def _without_first(segment: Segment) -> Segment | None:
    text = " ".join(segment.text.split()[1:])
    words = segment.words[1:]
    return _changed(segment, text, words, start=words[0].start if words else segment.start)


def _with_first(segment: Segment, word: str) -> Segment:
    text = " ".join([word, *segment.text.split()[1:]])
    words = segment.words
    if words:
        words = (words[0].model_copy(update={"text": f" {word}"}), *words[1:])
    return segment.model_copy(update={"text": text, "words": words})


def _with_last(segment: Segment, word: str, after: Segment) -> Segment | None:
    text = " ".join([*segment.text.split()[:-1], word])
    words = segment.words
    end = segment.end
    if words and after.words:
        end = max(words[-1].end, after.words[0].end)
        words = (*words[:-1], words[-1].model_copy(update={"text": f" {word}", "end": end}))
    return _changed(segment, text, words, end=end)


def _changed(
    segment: Segment,
    text: str,
    words: tuple[Word, ...],
    *,
    start: int | None = None,
    end: int | None = None,
) -> Segment | None:
    if not text:
        return None
    return segment.model_copy(
        update={
            "text": text,
            "words": words,
            "tokens": (),
            "start": segment.start if start is None else start,
            "end": segment.end if end is None else end,
        }
    )
