"""Takes punctuation and capitals from a language model's answers, and not one word."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from stenograf.backend.textsplit import Passages, Piece, deal, normalized, word_spans

_SPACE_BEFORE_CLOSING = re.compile(r"^\s+([.,!?…:;»”)]+)(?=\s)")
_MIN_COMMON = 0.5  # an answer that shares fewer words with its piece is something else


class Punctuated:
    """A text whose pieces are corrected one after another; its words never change.

    Where pieces overlap, the first half of the overlap is the earlier piece's, which has seen what
    comes before, the second half the later one's, which sees what follows.
    """

    def __init__(self, passages: Passages, pieces: Sequence[Piece]) -> None:
        own = _Spelling(passages.text)
        self._passages = passages
        self._forms, self._gaps, self._lead = own.words, own.gaps, own.lead
        self._owned = _owned(pieces)
        self._pieces = pieces

    def accept(self, index: int, answer: str) -> int:
        """Correct the `index`-th piece; how many of its words the answer did not give back.

        Those, and the punctuation around them, stay as they were; of an answer that is not about
        the piece at all nothing is taken.
        """
        piece = self._pieces[index]
        said = _Spelling(answer)
        words = self._forms[piece.first_word : piece.end_word]
        matches = _matches(words, said.words)
        missing = len(words) - len(matches)
        if words and len(matches) < _MIN_COMMON * len(words):
            return missing
        first, behind = self._owned[index]
        is_last = index == len(self._pieces) - 1
        for at, there in matches.items():
            word = piece.first_word + at
            if not first <= word < behind:
                continue
            self._forms[word] = _spelled(self._forms[word], said.words[there])
            if word == 0 and there == 0 and index == 0:
                self._lead = said.lead.lstrip()
            if word + 1 < len(self._forms):
                same_follows = matches.get(at + 1) == there + 1
                self._gaps[word] = self._gap(word, said.gaps[there], same_follows)
            elif is_last:
                same_follows = there == len(said.words) - 1
                self._gaps[word] = self._gap(word, said.gaps[there], same_follows).rstrip()
        return missing

    def _gap(self, word: int, said: str, same_follows: bool) -> str:
        """The punctuation behind a word; of a gap before another word only what closes."""
        own = self._gaps[word]
        following = self._forms[word + 1 : word + 2]
        if self._forms[word].isdecimal() and following and following[0].isdecimal():
            return own  # 3.5 is not 3, 5
        if same_follows:
            return _SPACE_BEFORE_CLOSING.sub(r"\1", said)
        closing, space, _ = said.partition(" ")
        return closing + own if space and not own.strip() else own

    def text(self) -> str:
        """The whole text as it stands now."""
        return self._lead + self._words(0, len(self._forms))

    def settled(self, index: int) -> str:
        """What the `index`-th piece alone decides of the text; all of them joined are the text."""
        return (self._lead if index == 0 else "") + self._words(*self._owned[index])

    def _words(self, first: int, behind: int) -> str:
        pairs = zip(self._forms[first:behind], self._gaps[first:behind], strict=True)
        return "".join(form + gap for form, gap in pairs)

    def passages(self) -> tuple[str, ...]:
        """The text as it stands now, dealt out to the passages it came from."""
        counts = [len(word_spans(passage)) for passage in self._passages.passages]
        return tuple(passage.strip() for passage in deal(self.text(), counts))


class _Spelling:
    """A text as words with what stands before the first and behind each."""

    def __init__(self, text: str) -> None:
        spans = word_spans(text)
        starts = [start for start, _ in spans]
        ends = [end for _, end in spans]
        behind = zip(ends, [*starts[1:], len(text)], strict=False)
        self.words = [text[start:end] for start, end in spans]
        self.gaps = [text[end:start] for end, start in behind]
        self.lead = text[: starts[0]] if starts else text


def _spelled(word: str, said: str) -> str:
    """The word as the answer spells it; a model that writes е for ё does not take ё away."""
    if "ё" not in word.lower() or len(word) != len(said):
        return said
    pairs = zip(word, said, strict=True)
    return "".join(_cased_yo(new) if old in "ёЁ" else new for old, new in pairs)


def _cased_yo(letter: str) -> str:
    return "Ё" if letter.isupper() else "ё"


def _owned(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    firsts = [0]
    for before, after in pairwise(pieces):
        firsts.append((before.end_word + after.first_word) // 2)
    behinds = [*firsts[1:], pieces[-1].end_word if pieces else 0]
    return list(zip(firsts, behinds, strict=False))


def _matches(words: Sequence[str], said: Sequence[str]) -> dict[int, int]:
    """Index of each word of the piece that the answer gives back -> its index in the answer."""
    ours = [normalized(word) for word in words]
    theirs = [normalized(word) for word in said]
    if ours == theirs:
        return {at: at for at in range(len(ours))}
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    return {
        block.a + step: block.b + step
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    }
