"""What OpenAI's clients send, in each spelling, and what comes of nonsense."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import DecodeOptions, TranscribeOptions
from stenograf.openai_audio.fields import Fields
from stenograf.openai_audio.request import FORMATS, AudioRequest

from .desk import Desk
from .model_server import ModelServer
from .serving import serving
from .sounds import silence, wav

URL = "/v1/audio/transcriptions"
TINY = wav(silence(0.2))
VOICE = "data:audio/wav;base64," + base64.b64encode(TINY).decode()


@pytest.fixture(scope="module")
def open_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    model = ModelServer()
    folder: Path = tmp_path_factory.mktemp("openai")
    with Desk(folder, model.url, answer_start_s=30) as desk:
        yield desk
    model.close()


@pytest.fixture(scope="module")
def client(open_desk: Desk) -> Iterator[openai.OpenAI]:
    with (
        serving(open_desk.app) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def read(fields: Mapping[str, str | list[str]]) -> AudioRequest:
    """The request that a form with these fields makes."""
    listed = {name: [v] if isinstance(v, str) else v for name, v in fields.items()}
    return AudioRequest.of(Fields(listed))


def last_options(desk: Desk) -> TranscribeOptions:
    job = desk.http.get("/v1/jobs").json()["data"][0]
    return TranscribeOptions.model_validate(job["options"])


def test_the_sdk_with_every_argument(client: openai.OpenAI, open_desk: Desk) -> None:
    answer = client.audio.transcriptions.create(
        file=("совещание №1.wav", TINY),
        model="gpt-4o-transcribe",
        language="ru",
        prompt="Протокол.",
        keywords=["Стенограф", "Псков"],
        response_format="verbose_json",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        chunking_strategy={
            "type": "server_vad",
            "threshold": 0.3,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 700,
        },
        known_speaker_names=["Анна", "Борис"],
        known_speaker_references=[VOICE, VOICE],
        stream=False,
        extra_body={
            "beam_size": 3,
            "hotwords": ["ГОСТ"],
            "vad_filter": True,
            "normalize": "peak",
            "target_peak": 0.5,
            "cut": {"min_speech_ms": 50},
            "temperature_increment": "0.2",
            "nobody_knows": {"this": [1, 2]},
        },
    )
    assert (answer.text, answer.words, answer.segments) == ("", [], [])
    options = last_options(open_desk)
    assert open_desk.http.get("/v1/jobs").json()["data"][0]["filename"] == "совещание №1.wav"
    assert options.decode == DecodeOptions(
        language="ru",
        prompt="Протокол. Стенограф, Псков, ГОСТ",
        temperature=0.2,
        beam_size=3,
    )
    assert (options.normalize.method, options.normalize.target_peak) == ("peak", 0.5)
    cut = options.cut
    assert (cut.vad, cut.vad_threshold, cut.speech_pad_ms) == (True, 0.3, 300)
    assert (cut.min_silence_ms, cut.min_speech_ms) == (700, 50)


@pytest.mark.parametrize("format", FORMATS)
def test_the_sdk_reads_each_format(client: openai.OpenAI, format: Any) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", TINY), model="whisper-1", response_format=format
    )
    assert (answer if isinstance(answer, str) else answer.text).strip() in ("", "WEBVTT")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's own mark
def test_translation_is_in_english(client: openai.OpenAI, open_desk: Desk) -> None:
    answer = client.audio.translations.create(
        file=("a.wav", TINY), model="whisper-1", response_format="verbose_json", prompt="Names"
    )
    assert (answer.language, answer.duration) == ("english", 0.2)
    assert answer.task == "translate"  # type: ignore[attr-defined]
    assert last_options(open_desk).decode.task == "translate"
    assert client.audio.translations.create(file=("a.wav", TINY), model="whisper-1").text == ""
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.translations.create(
            file=("a.wav", TINY),
            model="whisper-1",
            response_format="diarized_json",  # type: ignore[call-overload]
        )
    assert refused.value.param == "response_format"


SERVER_VAD = {"type": "server_vad", "threshold": 0.25, "silence_duration_ms": 900}


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": json.dumps(SERVER_VAD)},
        {f"chunking_strategy[{name}]": str(value) for name, value in SERVER_VAD.items()},
        {"chunking_strategy[threshold]": "0.25", "chunking_strategy[silence_duration_ms]": "900"},
        {"vad_threshold": "0.25", "min_silence_ms": "900", "chunking_strategy": "auto"},
        {"cut[vad_threshold]": "0.25", "cut[min_silence_ms]": "900"},
        {"cut": '{"vad_threshold": 0.25, "min_silence_ms": 900}', "chunking_strategy": "null"},
    ],
)
def test_one_strategy_in_many_spellings(fields: dict[str, str]) -> None:
    cut = read(fields).options.cut
    assert (cut.vad_threshold, cut.min_silence_ms) == (0.25, 900)


@pytest.mark.parametrize(
    "names",
    [
        {"timestamp_granularities[]": ["word", "segment"]},
        {"timestamp_granularities": ["segment", "word"]},
        {"timestamp_granularities": ["word"], "timestamp_granularities[]": ["segment"]},
        {"timestamp_granularities[0]": "word", "timestamp_granularities[1]": "segment"},
    ],
)
def test_granularities_in_many_spellings(names: dict[str, Any]) -> None:
    asked = read({"response_format": "verbose_json", "word_timestamps": "false"} | names)
    assert asked.granularities == ("segment", "word")
    assert asked.options.decode.word_timestamps, "who asks for words gets their times"


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ({}, "ru"),
        ({"language": "auto"}, "auto"),
        ({"detect_language": "true"}, "auto"),
        ({"detect_language": "true", "language": "ru"}, "ru"),
        ({"language": "Russian"}, "ru"),
        ({"language": "RU"}, "ru"),
        ({"language": "ru-RU"}, "ru"),
        ({"languages[]": ["en"]}, "en"),
        ({"languages[]": ["en", "English"]}, "en"),
        ({"languages[]": ["ru", "en"]}, "auto"),
        ({"languages[]": ["ru", "en"], "language": "de"}, "de"),
    ],
)
def test_languages(fields: dict[str, Any], language: str) -> None:
    decode = read(fields).options.decode
    assert decode.language == language
    assert decode.languages == (
        ("en", "ru") if fields.get("languages[]") == ["ru", "en"] and language == "auto" else ()
    )


def test_of_a_long_prompt_the_end_counts() -> None:
    options = read({"prompt": "а" * 3000, "keywords[]": ["Псков", "Луга"]}).options
    assert options.decode.prompt.endswith("а Псков, Луга")
    assert len(options.decode.prompt) == 2000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        (
            {"timestamp_granularities[]": "word", "response_format": "srt"},
            "timestamp_granularities[]",
        ),
        ({"include[]": "logprobs", "response_format": "srt"}, "include[]"),
        ({"include[]": "everything"}, "include[]"),
        ({"stream": "true", "response_format": "vtt"}, "stream"),
        ({"stream": "perhaps"}, "stream"),
        ({"chunking_strategy": "whole"}, "chunking_strategy"),
        ({"chunking_strategy": "{broken"}, "chunking_strategy"),
        ({"chunking_strategy": "{" * 50_000}, "chunking_strategy"),
        ({"chunking_strategy[threshold]": "7"}, "chunking_strategy[threshold]"),
        ({"chunking_strategy": '{"threshold": []}'}, "chunking_strategy[threshold]"),
        ({"languages[]": "klingon"}, "languages[]"),
        ({"language": "kl-ingon"}, "language"),
        ({"known_speaker_names[]": list("abcde")}, "known_speaker_names[]"),
        ({"known_speaker_references[]": [VOICE]}, "known_speaker_references[]"),
        (
            {"known_speaker_names[]": ["a"], "known_speaker_references[]": ["data:text/html,<b>"]},
            "known_speaker_references[]",
        ),
        (
            {
                "known_speaker_names[]": ["a"],
                "known_speaker_references[]": ["data:audio/wav;base64,*"],
            },
            "known_speaker_references[]",
        ),
        ({"beam_size": "100"}, "beam_size"),
        ({"normalize": "loud"}, "method"),
        ({"task": "sing"}, "task"),
        ({"logprob_threshold": "-inf"}, "logprob_threshold"),
        ({"vad": "sometimes"}, "vad"),
    ],
)
def test_what_excludes_itself_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadOptions) as refused:
        read(fields)
    assert refused.value.param == param
    assert len(refused.value.message) < 300


def test_a_speakers_sample_may_be_longer_than_a_field(open_desk: Desk) -> None:
    long = "data:audio/wav;base64," + base64.b64encode(bytes(2 * 1024**2)).decode()
    fields = {
        "model": "gpt-4o-transcribe-diarize",
        "response_format": "diarized_json",
        "known_speaker_names[]": "Анна",
        "known_speaker_references[]": long,
    }
    answer = open_desk.http.post(URL, data=fields, files={"file": ("a.wav", TINY)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["segments"] == []
    longer = fields | {"known_speaker_references[]": long * 2}
    refused = open_desk.http.post(URL, data=longer, files={"file": ("a.wav", TINY)})
    assert refused.json()["error"]["param"] == "known_speaker_references[]"
    often = fields | {"known_speaker_references[]": [long] * 5}
    assert open_desk.http.post(URL, data=often, files={"file": ("a.wav", TINY)}).status_code == 400


NAMES = st.sampled_from(
    [
        "model", "language", "languages[]", "keywords[]", "prompt", "response_format", "stream",
        "temperature", "timestamp_granularities[]", "timestamp_granularities", "include[]",
        "chunking_strategy", "chunking_strategy[type]", "chunking_strategy[threshold]",
        "known_speaker_names[]", "known_speaker_references[]", "hotwords", "vad_filter", "task",
        "beam_size", "normalize", "normalize[method]", "cut", "cut[vad]", "decode", "guard",
        "word_timestamps", "target_db", "no_speech_threshold", "x[y][z]", "[]", "",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["true", "json", "verbose_json", "srt", "word", "ru", "0", "1e999", "nan", "null", "{}"]
    ),
    st.floats().map(str),
    st.recursive(st.none() | st.integers() | st.floats(), lambda x: st.lists(x, max_size=3)).map(
        lambda value: json.dumps({"threshold": value, "type": value, "vad": value})
    ),
)
FORM = st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=3), max_size=5)


@settings(max_examples=300)
@given(FORM)
def test_any_form_is_read_or_refused(fields: dict[str, list[str]]) -> None:
    try:
        asked = AudioRequest.of(Fields(fields))
    except BadOptions as refused:
        assert refused.param
        return
    stored = asked.options.model_dump_json()
    assert TranscribeOptions.model_validate_json(stored) == asked.options


@settings(max_examples=25)
@given(FORM, st.sampled_from([URL, "/v1/audio/translations"]))
def test_no_form_is_a_server_error(open_desk: Desk, fields: dict[str, list[str]], url: str) -> None:
    sent = {name: [v.replace("\0", "") for v in values] for name, values in fields.items()}
    answer = open_desk.http.post(url, data=sent, files={"file": ("a.wav", TINY)})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        assert answer.headers["x-should-retry"] == "false"
