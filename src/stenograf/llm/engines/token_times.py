"""From a CTC or RNN-T model's tokens, each with the moment it was settled, to words and phrases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, TokenScore, Word
from stenograf.llm.whisper.phrases import compression_ratio

_TAIL = SAMPLE_RATE * 160 // 1000  # a word goes on so long behind its last token, or to the next
_PAUSE = SAMPLE_RATE * 8 // 10  # without words for so long, a phrase is over
_CLOSING = frozenset(",.!?;:%…»”)]}")
_SENTENCE_ENDS = (".", "!", "?", "…")


@dataclass(frozen=True)
class Token:
    """A piece of text as the model wrote it, its leading space included.

    `at` is the sample from which it was heard, `logprob` natural.
    """

    text: str
    at: int
    logprob: float


@dataclass
class _Spoken:
    """A word while it grows."""

    text: str
    tokens: list[Token]

    def append(self, text: str, token: Token) -> None:
        self.text += text
        if self.tokens[-1] is not token:
            self.tokens.append(token)


def segments(
    tokens: Sequence[Token], n_samples: int, *, words: bool, scores: bool
) -> tuple[Segment, ...]:
    """Phrases of a window of `n_samples`: a sentence's end closes one, and so does a pause.

    Words and scores of the tokens are in them only where they are asked for.
    """
    spoken = _spoken(tokens)
    timed = [_word(word, behind, n_samples) for word, behind in _with_next(spoken)]
    found: list[Segment] = []
    first = 0
    for i, word in enumerate(timed):
        last = i == len(timed) - 1
        if last or word.text.endswith(_SENTENCE_ENDS) or timed[i + 1].start - word.end > _PAUSE:
            phrase = _segment(timed[first : i + 1], spoken[first : i + 1])
            found.append(phrase.model_copy(update=_wanted(phrase, words=words, scores=scores)))
            first = i + 1
    return tuple(found)


def _wanted(phrase: Segment, *, words: bool, scores: bool) -> dict[str, object]:
    return {
        "words": phrase.words if words else (),
        "scores": phrase.scores if scores else (),
    }


def _spoken(tokens: Sequence[Token]) -> list[_Spoken]:
    """Words, each with the tokens that it has letters of; signs go with the word before them."""
    found: list[_Spoken] = []
    between = True
    for token in tokens:
        for letter in token.text:
            if letter.isspace():
                between = True
            elif found and letter in _CLOSING:
                found[-1].append(letter, token)
                between = False
            elif between:
                found.append(_Spoken(" " + letter, [token]))
                between = False
            else:
                found[-1].append(letter, token)
    return _joined(found)


def _joined(spoken: Sequence[_Spoken]) -> list[_Spoken]:
    """A dash between two words, and the like, is no word of its own."""
    joined: list[_Spoken] = []
    for word in spoken:
        if joined and not any(letter.isalnum() for letter in word.text):
            joined[-1].text += word.text
            joined[-1].tokens += word.tokens
        else:
            joined.append(word)
    return joined


def _with_next(spoken: Sequence[_Spoken]) -> Iterator[tuple[_Spoken, int | None]]:
    for i, word in enumerate(spoken):
        yield word, spoken[i + 1].tokens[0].at if i + 1 < len(spoken) else None


def _word(word: _Spoken, next_start: int | None, n_samples: int) -> Word:
    bound = n_samples if next_start is None else next_start
    start = min(word.tokens[0].at, n_samples)
    end = min(word.tokens[-1].at + _TAIL, bound, n_samples)
    chances = [exp(min(0.0, token.logprob)) for token in word.tokens]
    return Word(
        start=start,
        end=max(start, end),
        text=word.text,
        probability=sum(chances) / len(chances),
    )


def _segment(words: Sequence[Word], spoken: Sequence[_Spoken]) -> Segment:
    text = "".join(word.text for word in words)
    # a token may hold the end of one word and the beginning of the next
    tokens = list({id(token): token for word in spoken for token in word.tokens}.values())
    return Segment(
        start=words[0].start,
        end=words[-1].end,
        text=text,
        words=tuple(words),
        scores=tuple(TokenScore(utf8=tuple(t.text.encode()), logprob=t.logprob) for t in tokens),
        avg_logprob=sum(token.logprob for token in tokens) / len(tokens),
        compression_ratio=compression_ratio(text),
    )
