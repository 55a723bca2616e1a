"""Laws of cutting texts, reading answers and merging them, for any text and any answer."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.backend.textanswer import Reading
from stenograf.backend.textmerge import Punctuated
from stenograf.backend.textsplit import Passages, Piece, deal, normalized, word_spans
from stenograf.contract.errors import TextServiceFailed

_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "content", "finish_reason", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_SCRIPTS = st.sampled_from(
    [*"абёЁЙzQßİ50語カ한%№*_.,!?…—-«»('   \n🙂क", "\u0301", "\u2028", "\0", "\u093f"]
)
_TEXTS = st.text(_SCRIPTS, max_size=60)
_PASSAGES = st.lists(_TEXTS, max_size=12)
_LIMITS = st.tuples(st.integers(1, 80), st.integers(0, 40)).map(
    lambda drawn: (drawn[0], min(drawn[1], drawn[0] // 2))
)


def words(text: str) -> list[str]:
    """Normalized words."""
    return [normalized(text[start:end]) for start, end in word_spans(text)]


def cut(passages: list[str], limits: tuple[int, int]) -> tuple[Passages, list[Piece]]:
    """Passages and their pieces."""
    whole = Passages(passages)
    return whole, whole.pieces(*limits)


@given(_PASSAGES, _LIMITS)
def test_pieces_cover_the_text_in_order_within_their_limits(
    passages: list[str], limits: tuple[int, int]
) -> None:
    whole, pieces = cut(passages, limits)
    assert bool(pieces) == bool(whole.text)
    behind = 0
    for before, piece in zip([None, *pieces], pieces, strict=False):
        assert piece.text == whole.text[piece.start : piece.end]
        assert 0 < len(piece.text) <= limits[0]
        assert whole.text[behind : piece.start].strip() == ""
        assert before is None or piece.start > before.start
        assert behind - piece.start <= limits[1]
        behind = piece.end
    assert behind == len(whole.text)


@given(_PASSAGES, _LIMITS)
def test_every_word_that_fits_is_whole_in_some_piece(
    passages: list[str], limits: tuple[int, int]
) -> None:
    whole, pieces = cut(passages, limits)
    covered = {n for piece in pieces for n in range(piece.first_word, piece.end_word)}
    for n, (start, end) in enumerate(whole.words):
        inside = [piece for piece in pieces if piece.start <= start and end <= piece.end]
        assert (n in covered) == bool(inside)
    for piece in pieces:
        owned = [whole.text[start:end] for start, end in whole.words]
        for word in owned[piece.first_word : piece.end_word]:
            assert word in piece.text


@given(_PASSAGES, _LIMITS, st.data())
@settings(max_examples=300)
def test_no_answer_can_change_a_word(
    passages: list[str], limits: tuple[int, int], data: st.DataObject
) -> None:
    whole, pieces = cut(passages, limits)
    merged = Punctuated(whole, pieces)
    settled = ""
    for index, piece in enumerate(pieces):
        answer = data.draw(
            st.one_of(
                _TEXTS,
                st.just(piece.text.upper()),
                st.just(f"Вот текст: {piece.text}!"),
                st.just(piece.text.replace(" ", ", ")),
                st.just(piece.text[len(piece.text) // 3 :]),
                st.just(" ".join(reversed(piece.text.split()))),
            )
        )
        missing = merged.accept(index, answer)
        assert 0 <= missing <= piece.end_word - piece.first_word
        settled += merged.settled(index)
    assert words(merged.text()) == words(whole.text)
    assert words(settled) == words(whole.text)
    dealt = merged.passages()
    assert len(dealt) == len(whole.passages)
    assert [words(passage) for passage in dealt] == [words(p) for p in whole.passages]


@given(_TEXTS, st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_a_text_dealt_out_is_all_there(text: str, drawn: list[int]) -> None:
    left = len(word_spans(text))
    counts = [min(count, left - sum(drawn[:at])) for at, count in enumerate(drawn)]
    counts = [max(0, count) for count in counts]
    if sum(counts) < left:
        counts.append(left - sum(counts))
    parts = deal(text, counts)
    assert [len(word_spans(part)) for part in parts] == counts
    assert "".join(parts) == (text if left else "")


@given(_PASSAGES, _LIMITS)
def test_faithful_answers_give_the_text_back(passages: list[str], limits: tuple[int, int]) -> None:
    whole, pieces = cut(passages, limits)
    merged = Punctuated(whole, pieces)
    assert [merged.accept(index, piece.text) for index, piece in enumerate(pieces)] == [0] * len(
        pieces
    )
    assert "".join(merged.settled(index) for index in range(len(pieces))) == merged.text()
    assert "".join(merged.text().split()) == "".join(whole.text.split())


@given(
    st.lists(st.lists(st.sampled_from(["да", "нет", "кто", "и", "5"]), min_size=1), max_size=8),
    st.sampled_from([". ", ", ", "! ", " — ", "; "]),
    st.integers(20, 60),
)
def test_punctuation_arrives_wherever_the_words_are_the_same(
    sentences: list[list[str]], mark: str, max_chars: int
) -> None:
    whole, pieces = cut([" ".join(sentence) for sentence in sentences], (max_chars, max_chars // 3))
    merged = Punctuated(whole, pieces)
    for index, piece in enumerate(pieces):
        answer = mark.join(word.title() for word in piece.text.split())
        assert merged.accept(index, answer) == 0
    said = merged.text().split()
    assert [word.strip(".,!;") for word in said if word != "—"] == [
        word.title() for sentence in sentences for word in sentence
    ]


@given(
    st.lists(
        st.binary(max_size=40)
        | st.binary(max_size=40).map(lambda data: b"data: " + data)
        | _JSON.map(lambda value: f"data: {json.dumps(value)}".encode())
        | _TEXTS.map(
            lambda text: (
                b"data: "
                + json.dumps(
                    {"choices": [{"delta": {"content": text}, "finish_reason": None}]}
                ).encode()
            )
        )
        | st.just(b"data: [DONE]"),
        max_size=8,
    )
)
@settings(max_examples=300)
def test_whatever_a_server_streams_is_an_answer_or_a_typed_error(lines: list[bytes]) -> None:
    shown: list[str] = []
    reading = Reading(200, shown.append)
    try:
        for line in lines:
            if reading.line(line):
                break
        answer = reading.end()
    except TextServiceFailed:
        return
    assert answer
    assert "".join(shown).strip() == answer
    assert answer.encode()


@given(st.binary(max_size=80) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_server_answers_at_once_is_an_answer_or_a_typed_error(body: bytes) -> None:
    shown: list[str] = []
    reading = Reading(200, shown.append)
    try:
        reading.whole(body)
        answer = reading.end()
    except TextServiceFailed:
        return
    assert "".join(shown).strip() == answer != ""
