"""Arbitrary recognizer output, from plausible to absurd."""

from itertools import pairwise

from hypothesis import strategies as st

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.assemble import WindowResult

_RUSSIAN = st.text("абвгдеёжзийклмнопрстуфхцчшщъыьэюя", min_size=1, max_size=14)
plain_tokens = st.tuples(_RUSSIAN, st.sampled_from(["", "", "", ",", ".", "!", "?", "…"])).map(
    "".join
)
_NASTY = st.sampled_from(
    ["<b>", "</i>", "&amp;", "-->", "00:00:01,000", "{\\an8}", "1", "NOTE", "WEBVTT", "<v Я>", "\t"]
)
_WILD = st.text(max_size=60)
tokens = st.one_of(plain_tokens, plain_tokens, plain_tokens, plain_tokens, _NASTY, _WILD)


@st.composite
def segments(draw: st.DrawFn, latest: int = 40 * SAMPLE_RATE) -> Segment:
    """One segment in window time; its words may lie anywhere, even outside it."""
    texts = draw(st.lists(tokens, max_size=25))
    start = draw(st.integers(0, latest))
    end = start + draw(st.integers(0, 10 * SAMPLE_RATE))
    words: tuple[Word, ...] = ()
    if draw(st.booleans()):
        words = tuple(_word(draw, text, latest) for text in texts)
    return Segment(
        start=start,
        end=end,
        text=" ".join(texts),
        words=words,
        avg_logprob=draw(st.none() | st.floats(-3, 0)),
        no_speech_prob=draw(st.none() | st.floats(0, 1)),
        compression_ratio=draw(st.none() | st.floats(0.5, 30)),
    )


def _word(draw: st.DrawFn, text: str, latest: int) -> Word:
    start = draw(st.integers(0, latest))
    end = start + draw(st.integers(0, SAMPLE_RATE))
    probability = draw(st.none() | st.floats(0, 1))
    return Word(start=start, end=end, text=f" {text}", probability=probability)


@st.composite
def window_results(draw: st.DrawFn) -> tuple[list[WindowResult], int]:
    """Windows in any order, with seams, and the length of their file."""
    borders = sorted(draw(st.lists(st.integers(0, 120 * SAMPLE_RATE), min_size=2, max_size=6)))
    results = []
    for start, end in pairwise(borders):
        results.append(
            WindowResult(
                start=start,
                end=end,
                segments=draw(st.lists(segments(), max_size=4)),
                seam_start=draw(st.booleans()),
                seam_end=draw(st.booleans()),
                language=draw(st.sampled_from([None, "ru", "en"])),
                language_probability=draw(st.none() | st.floats(0, 1)),
            )
        )
    duration = max(0, borders[-1] - draw(st.integers(0, 5 * SAMPLE_RATE)))
    return draw(st.permutations(results)), duration


@st.composite
def transcripts(draw: st.DrawFn, texts_of: st.SearchStrategy[str] = tokens) -> Transcript:
    """Ordered segments as `assemble` leaves them, with plausible speech rates and pauses."""
    cursor = draw(st.integers(0, 3 * SAMPLE_RATE))
    built = []
    for _ in range(draw(st.integers(0, 6))):
        texts = [t for t in draw(st.lists(texts_of, min_size=1, max_size=40)) if t.strip()]
        words = []
        for text in texts:
            end = cursor + draw(st.integers(0, SAMPLE_RATE))
            words.append(Word(start=cursor, end=end, text=f" {text}"))
            cursor = end + draw(st.sampled_from([0, 0, 0, 1, 800, 8_000, 40_000]))
        if words:
            built.append(
                Segment(
                    start=words[0].start,
                    end=words[-1].end,
                    text=" ".join(texts),
                    words=tuple(words) if draw(st.booleans()) else (),
                    speaker=draw(st.sampled_from([None, None, "SPEAKER_00", "SPEAKER_01"])),
                )
            )
    last = built[-1].end if built else 0
    return Transcript(duration=last + draw(st.integers(0, 80_000)), segments=tuple(built))
