"""Long texts in pieces that a language model can take in one request.

Texts are counted in words: a run of letters and digits, one character of a script without spaces,
one symbol such as % or №. What stands between words is punctuation and space.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

_SYMBOLS = frozenset(
    "%&@#*§_¶†‡\\‰"
)  # Unicode calls them punctuation; in a text they say something
_SENTENCE_ENDS = (". ", "! ", "? ", "… ", ".\n", "!\n", "?\n")


@dataclass(frozen=True)
class Piece:
    """Characters `start` to `end` of a text, and the words that lie wholly inside, by index."""

    start: int
    end: int
    first_word: int
    end_word: int
    text: str


class Passages:
    """Passages, e.g. the segments of a transcript, joined into one text by `joint`."""

    def __init__(self, passages: Sequence[str], joint: str = " ") -> None:
        tidy = (" ".join(unicodedata.normalize("NFC", passage).split()) for passage in passages)
        self.passages = tuple(tidy)
        self.text = joint.join(passage for passage in self.passages if passage)
        self._joint_chars = len(joint)

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        """First and behind-last character of every word."""
        return word_spans(self.text)

    def pieces(self, max_chars: int, overlap_chars: int) -> list[Piece]:
        """The text in pieces of at most `max_chars`, cut between passages where they allow it.

        Neighbours share at most `overlap_chars`, whole passages or sentences of them. Every
        character is in some piece, but for the space at a cut.
        """
        atoms = list(self._atoms(max(1, min(max_chars, max_chars // 2, overlap_chars))))
        pieces, first = [], 0
        while first < len(atoms):
            last = first
            while last + 1 < len(atoms) and atoms[last + 1][1] - atoms[first][0] <= max_chars:
                last += 1
            pieces.append(self._piece(atoms[first][0], atoms[last][1]))
            if last + 1 == len(atoms):
                break
            following = last + 1
            while (
                following - 1 > first and atoms[last][1] - atoms[following - 1][0] <= overlap_chars
            ):
                following -= 1
            first = following
        return pieces

    def _piece(self, start: int, end: int) -> Piece:
        first = bisect_left(self.words, start, key=lambda word: word[0])
        behind = bisect_right(self.words, end, key=lambda word: word[1])
        return Piece(start, end, first, max(first, behind), self.text[start:end])

    def _atoms(self, max_chars: int) -> Iterator[tuple[int, int]]:
        at = 0
        for passage in self.passages:
            if passage:
                yield from _cut(self.text, at, at + len(passage), max_chars)
                at += len(passage) + self._joint_chars


def _cut(text: str, start: int, end: int, max_chars: int) -> Iterator[tuple[int, int]]:
    while end - start > max_chars:
        cut = _place(text, start, start + max_chars)
        yield start, cut
        start = cut + 1 if text[cut].isspace() else cut
    if end > start:
        yield start, end


def _place(text: str, start: int, limit: int) -> int:
    """Where to cut: behind a sentence, else at a space, else where it must be."""
    middle = (start + limit) // 2
    ends = [text.rfind(mark, middle, limit + 1) for mark in _SENTENCE_ENDS]
    if max(ends) >= middle:
        return max(ends) + 1
    space = text.rfind(" ", start + 1, limit + 1)
    return space if space > start else limit


def word_spans(text: str) -> list[tuple[int, int]]:
    """First and behind-last character of every word of `text`, in order."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for at, char in enumerate(text):
        inside = _inside_word(char, begun=start is not None)
        if start is not None and (not inside or _alone(char)):
            spans.append((start, at))
            start = None
        if inside and _alone(char):
            spans.append((at, at + 1))
        elif inside and start is None:
            start = at
    if start is not None:
        spans.append((start, len(text)))
    return spans


def deal(text: str, counts: Sequence[int]) -> list[str]:
    """`text` in parts of so many words each; joined, they are the text.

    Between two parts, punctuation up to the first space goes to the left, the rest to the right.
    A part without words is empty.
    """
    spans = word_spans(text)
    parts, at, start = [], 0, 0
    for count in counts:
        at += count
        end = start
        if count:
            end = len(text) if at >= len(spans) else _between(text, spans[at - 1][1], spans[at][0])
        parts.append(text[start:end])
        start = end
    return parts


def _between(text: str, start: int, end: int) -> int:
    return next((at for at in range(start, end) if text[at].isspace()), end)


def normalized(word: str) -> str:
    """A word as two texts are compared: any case, ё as е."""
    return word.casefold().replace("ё", "е")


def _inside_word(char: str, *, begun: bool) -> bool:
    if char.isalnum() or char in _SYMBOLS:
        return True
    kind = unicodedata.category(char)[0]
    return kind == "S" or (kind == "M" and begun)


def _alone(char: str) -> bool:
    return not (char.isalnum() or unicodedata.category(char)[0] == "M") or (
        "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"
    )
