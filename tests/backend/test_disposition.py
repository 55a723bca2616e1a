"""Names of downloads: whatever a file is called, the header is one header and says so."""

import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from stenograf.backend.api.disposition import disposition

HEADER = re.compile(r"""attachment; filename="([A-Za-z0-9._ -]*)"; filename\*=UTF-8''(\S*)""")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150))
def test_the_name_comes_back_without_what_cannot_be_shown(stem: str) -> None:
    read = HEADER.fullmatch(disposition("attachment", stem, "srt"))
    assert read is not None
    name = unquote(read[2], errors="strict")
    assert name.endswith(".srt")
    shown = "".join(
        "_" if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029" else char
        for char in stem
    )
    assert name == f"{shown}.srt"
    assert len(read[1]) == len(name)


@given(st.text(max_size=2_000))
def test_no_name_breaks_out_of_the_header(stem: str) -> None:
    header = disposition("attachment", stem, "txt")
    assert HEADER.fullmatch(header)
    assert header.isascii()
    assert len(header) < 2_500


def test_a_plain_name_stays_as_it_is() -> None:
    assert disposition("inline", "call 1.ogg") == (
        "inline; filename=\"call 1.ogg\"; filename*=UTF-8''call%201.ogg"
    )
