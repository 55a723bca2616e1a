import html
import io
import json
import re
from datetime import timedelta

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given, settings

from stenograf.contract.errors import UnsupportedFormat
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.cues import cues
from stenograf.transcripts.languages import NAMES, code_of, name_of
from stenograf.transcripts.writers import FORMATS, render, verbose

from .strategies import plain_tokens, transcripts


def flat(text: str) -> str:
    return "".join(text.split())


@pytest.fixture
def transcript() -> Transcript:
    words = (
        Word(start=18_080, end=24_000, text=" Привет,", probability=0.9),
        Word(start=24_000, end=32_160, text=" <мир> & война."),
    )
    return Transcript(
        duration=40_007,
        segments=(
            Segment(
                start=18_080, end=32_160, text="Привет, <мир> & война.", words=words, tokens=(5, 6)
            ),
        ),
    )


@settings(max_examples=60)
@given(transcripts())
def test_srt_parses_back_strictly(transcript: Transcript) -> None:
    body = render(transcript, "srt").body.decode()
    parsed = list(srt.parse(body, ignore_errors=False))
    expected = cues(transcript, label_speakers=True)
    assert [entry.index for entry in parsed] == list(range(1, len(expected) + 1))
    for entry, cue in zip(parsed, expected, strict=True):
        assert entry.start == timedelta(milliseconds=cue.start_ms)
        assert entry.end == timedelta(milliseconds=cue.end_ms)
        assert len(entry.content.split("\n")) == len(cue.lines)
        assert "-->" not in entry.content


@settings(max_examples=60)
@given(transcripts(plain_tokens))  # in wilder text it takes digits for times
def test_players_library_reads_the_same_cues_from_srt_and_vtt(transcript: Transcript) -> None:
    for name, labelled in (("srt", True), ("vtt", False)):
        count = len(cues(transcript, label_speakers=labelled))
        body = render(transcript, name).body.decode()
        parsed = pysubs2.SSAFile.from_string(body, format_=name)
        assert len(parsed) == count
        assert all(event.end > event.start for event in parsed)


@settings(max_examples=60)
@given(transcripts())
def test_vtt_parses_back_with_its_text(transcript: Transcript) -> None:
    parsed = webvtt.from_buffer(io.StringIO(render(transcript, "vtt").body.decode()))
    shown = "".join(html.unescape(re.sub(r"<v [^>]*>", "", c.raw_text)) for c in parsed)
    assert flat(shown) == flat(transcript.text)


@settings(max_examples=60)
@given(transcripts())
def test_json_is_the_transcript_again(transcript: Transcript) -> None:
    body = json.loads(render(transcript, "json").body)
    assert Transcript.model_validate(body) == transcript
    assert body["text"] == transcript.text


@settings(max_examples=60)
@given(transcripts())
def test_tsv_has_three_columns_whatever_the_text(transcript: Transcript) -> None:
    header, *rows = render(transcript, "tsv").body.decode().split("\n")[:-1]
    assert header == "start\tend\ttext"
    assert len(rows) == len(transcript.segments)
    for row, segment in zip(rows, transcript.segments, strict=True):
        start, end, text = row.split("\t")
        assert int(start) <= int(end)
        assert text == " ".join(segment.text.split())


def test_known_bytes(transcript: Transcript) -> None:
    assert render(transcript, "srt").body.decode() == (
        "1\n00:00:01,130 --> 00:00:02,425\nПривет, <мир> & война.\n\n"
    )
    assert render(transcript, "vtt").body.decode() == (
        "WEBVTT\n\n00:00:01.130 --> 00:00:02.425\nПривет, &lt;мир&gt; &amp; война.\n\n"
    )
    assert render(transcript, "tsv").body.decode() == (
        "start\tend\ttext\n1130\t2010\tПривет, <мир> & война.\n"
    )
    assert render(transcript, "txt").body.decode() == "Привет, <мир> & война.\n"


def test_srt_neutralizes_what_players_take_for_markup() -> None:
    segment = Segment(start=0, end=16_000, text="<i>а</i> {\\an8} -->")
    body = render(Transcript(duration=16_000, segments=(segment,)), "srt").body.decode()
    assert "‹i>а‹/i> { \\an8} →" in body


def test_empty_transcript_is_a_valid_file_in_every_format() -> None:
    bodies = {name: render(Transcript(), name).body.decode() for name in FORMATS}
    assert bodies["txt"] == bodies["srt"] == ""
    assert bodies["vtt"] == "WEBVTT\n\n"
    assert bodies["tsv"] == "start\tend\ttext\n"
    assert json.loads(bodies["json"])["text"] == json.loads(bodies["verbose_json"])["text"] == ""


def test_verbose_json_has_openais_fields(transcript: Transcript) -> None:
    body = json.loads(render(transcript, "verbose_json").body)
    assert body["task"] == "transcribe"
    assert body["language"] == "russian"
    assert body["duration"] == 2.5
    assert body["usage"] == {"type": "duration", "seconds": 3}
    assert body["segments"][0].keys() >= {
        "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
        "compression_ratio", "no_speech_prob",
    }  # fmt: skip
    assert body["segments"][0]["tokens"] == [5, 6]
    assert body["segments"][0]["seek"] == 113
    assert body["words"][0] == {"word": "Привет,", "start": 1.13, "end": 1.5, "probability": 0.9}


def test_verbose_gives_only_the_granularities_asked(transcript: Transcript) -> None:
    assert "words" not in verbose(transcript, ["segment"])
    assert "segments" not in verbose(transcript, ["word"])


def test_a_translation_is_english(transcript: Transcript) -> None:
    translated = transcript.model_copy(update={"task": "translate"})
    assert verbose(translated)["language"] == "english"


def test_openais_sdk_reads_verbose_json(transcript: Transcript) -> None:
    types = pytest.importorskip("openai.types.audio")
    body = render(transcript, "verbose_json").body
    parsed = types.TranscriptionVerbose.model_validate_json(body, strict=True)
    assert parsed.segments[0].start == 1.13
    assert parsed.words[1].end == 2.01


def test_txt_names_speakers_where_they_change() -> None:
    segments = tuple(
        Segment(start=i * SAMPLE_RATE, end=(i + 1) * SAMPLE_RATE, text=text, speaker=speaker)
        for i, (text, speaker) in enumerate([("Алло.", "А"), ("Да.", "Б"), ("Слушаю.", "Б")])
    )
    body = render(Transcript(duration=3 * SAMPLE_RATE, segments=segments), "txt").body.decode()
    assert body == "А: Алло.\nБ: Да.\nСлушаю.\n"


def test_unknown_format_is_refused_with_the_choices() -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        render(Transcript(), "docx")
    assert caught.value.param == "format"
    assert "verbose_json" in (caught.value.hint or "")


def test_language_names_go_both_ways() -> None:
    assert len(NAMES) == 100
    assert all(code_of(name_of(code)) == code for code in NAMES)
    assert code_of(" RU ") == code_of("Russian") == "ru"
    assert name_of("ht") == "haitian creole"
    assert name_of("xx") == "xx"
    assert code_of("klingon") is None
