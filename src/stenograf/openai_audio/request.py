"""The fields of `/v1/audio/transcriptions` and `/v1/audio/translations`, checked."""

import base64
import binascii
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import DEFAULT_LANGUAGE, TranscribeOptions
from stenograf.openai_audio.fields import Fields, shown
from stenograf.openai_audio.knobs import checked, knobs
from stenograf.transcripts.languages import code_of

Task = Literal["transcribe", "translate"]

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
_TRANSLATION_FORMATS = FORMATS[:-1]
_STREAMED = frozenset({"json", "text", "verbose_json", "diarized_json"})
_SCORED = frozenset({"json", "verbose_json"})
_GRANULARITIES = ("segment", "word")
_GRANULARITIES_FIELD = "timestamp_granularities[]"

MAX_PROMPT_CHARS = 2_000
MAX_SPEAKERS = 4
MAX_REFERENCE_BYTES = 4 * 1024**2
"""One of `known_speaker_references[]`, written as a data URL."""

LONG_FIELDS = MappingProxyType(
    {f"known_speaker_references{suffix}": MAX_REFERENCE_BYTES for suffix in ("", "[]")}
)
"""Fields that are larger than a form's fields usually are, and the bytes each may have."""

_DATA_URL = re.compile(
    r"data:(?:audio|video|application)/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.ASCII
)
_CHUNKING = {
    "threshold": "vad_threshold",
    "silence_duration_ms": "min_silence_ms",
    "prefix_padding_ms": "speech_pad_ms",
}


@dataclass(frozen=True)
class AudioRequest:
    """A checked request."""

    format: str
    granularities: tuple[str, ...]
    stream: bool
    logprobs: bool
    languages: bool
    """Whether the answer names the languages heard: the newest of OpenAI's models do."""
    options: TranscribeOptions

    @classmethod
    def of(
        cls, fields: Fields, *, task: Task = "transcribe", default_language: str = DEFAULT_LANGUAGE
    ) -> "AudioRequest":
        """Read a form; what is not known is ignored.

        `default_language`, a code or auto, is what a transcription that names none is in; a
        translation then detects it.

        Raises BadOptions, with the field as its `param`, for a value out of range and for fields
        that exclude each other.
        """
        format = _format(fields, task)
        granularities = _granularities(fields, format)
        stream = bool(fields.flag("stream"))
        if stream and format not in _STREAMED:
            raise BadOptions(
                f"response_format {format} cannot be streamed.",
                hint=f"Choose one of: {', '.join(f for f in FORMATS if f in _STREAMED)}.",
                param="stream",
            )
        logprobs = _logprobs(fields, format)
        _check_known_speakers(fields)
        spoken = _languages(fields, "auto" if task == "translate" else default_language)
        options = _options(fields, task, spoken, words="word" in granularities, logprobs=logprobs)
        languages = options.model == "gpt-transcribe" or bool(fields.every("languages"))
        return cls(format, granularities or ("segment",), stream, logprobs, languages, options)


def _format(fields: Fields, task: Task) -> str:
    known = FORMATS if task == "transcribe" else _TRANSLATION_FORMATS
    format = fields.text("response_format") or "json"
    if format not in known:
        raise BadOptions(
            f"There is no response_format {shown(format)}.",
            hint=f"Choose one of: {', '.join(known)}.",
            param="response_format",
        )
    return format


def _granularities(fields: Fields, format: str) -> tuple[str, ...]:
    given = fields.every("timestamp_granularities")
    for name in given:
        if name not in _GRANULARITIES:
            raise BadOptions(
                f"There is no granularity {shown(name)}.",
                hint="Choose segment, word or both.",
                param=_GRANULARITIES_FIELD,
            )
    if given and format != "verbose_json":
        raise BadOptions(
            "timestamp_granularities needs response_format=verbose_json.",
            param=_GRANULARITIES_FIELD,
        )
    return tuple(name for name in _GRANULARITIES if name in given)


def _logprobs(fields: Fields, format: str) -> bool:
    given = fields.every("include")
    for name in given:
        if name != "logprobs":
            raise BadOptions(
                f"{shown(name)} cannot be included.", hint="Known: logprobs.", param="include[]"
            )
    if given and format not in _SCORED:
        raise BadOptions("logprobs need response_format=json.", param="include[]")
    return bool(given)


def _options(
    fields: Fields,
    task: Task,
    spoken: tuple[str, tuple[str, ...]],
    *,
    words: bool,
    logprobs: bool,
) -> TranscribeOptions:
    groups = knobs(fields)
    cut, names = _chunking(fields)
    groups["cut"] |= cut
    language, among = spoken
    decode: dict[str, Any] = {
        "task": "translate" if task == "translate" else fields.text("task") or "transcribe",
        "language": language,
        "languages": among,
        "prompt": _prompt(fields),
        "token_logprobs": logprobs,
    }
    if temperature := fields.text("temperature"):
        decode["temperature"] = temperature
    groups["decode"] |= decode
    if words:
        groups["decode"]["word_timestamps"] = True
    return checked(fields.text("model"), groups, names)


def _languages(fields: Fields, default: str) -> tuple[str, tuple[str, ...]]:
    """The language and, where it is to be detected, those that it may be."""
    named = fields.every("languages")
    spoken, among = _language(fields, "auto" if named else default), []
    for name in named:
        code = code_of(name)
        if code is None:
            raise BadOptions(f"languages: {shown(name)} is no language.", param="languages[]")
        among.append(code)
    if spoken != "auto" or not among:
        return spoken, ()
    return (among[0], ()) if len(set(among)) == 1 else ("auto", tuple(sorted(set(among))))


def _language(fields: Fields, default: str) -> str:
    """A code, from a code or an English name, or auto."""
    spoken = fields.text("language") or default
    if spoken.lower() == "auto" or (not fields.text("language") and fields.flag("detect_language")):
        return "auto"
    primary, _, region = spoken.partition("-")  # browsers say ru-RU
    code = code_of(spoken) or (code_of(primary) if len(region) in (2, 3, 4) else None)
    if code is None:
        raise BadOptions(
            f"language: {shown(spoken)} is no language.",
            hint="Send an ISO 639-1 code such as ru, or auto.",
            param="language",
        )
    return code


def _prompt(fields: Fields) -> str:
    """The prompt and the terms to expect; of more than fits the end counts, as in Whisper."""
    terms = [*fields.every("keywords"), *fields.every("hotwords")]
    parts = [fields.text("prompt", "initial_prompt"), ", ".join(terms)]
    return " ".join(part for part in parts if part)[-MAX_PROMPT_CHARS:].strip()


def _chunking(fields: Fields) -> tuple[dict[str, Any], dict[str, str]]:
    """`chunking_strategy` as options for cutting, and what the client calls them.

    `auto` evens loudness out and cuts where nobody speaks, which is what happens anyway.
    """
    given = fields.inside("chunking_strategy")
    kind = given.pop("type", "server_vad" if given else "auto")
    if kind not in ("auto", "server_vad"):
        raise BadOptions(
            f"There is no chunking_strategy {shown(str(kind))}.",
            hint="Choose auto or server_vad.",
            param="chunking_strategy",
        )
    cut = {
        ours: given[theirs]
        for theirs, ours in _CHUNKING.items()
        if given.get(theirs) not in (None, "")
    }
    names = {ours: f"chunking_strategy[{theirs}]" for theirs, ours in _CHUNKING.items()}
    return cut, {ours: name for ours, name in names.items() if ours in cut}


def _check_known_speakers(fields: Fields) -> None:
    """Names and samples of voices: both or neither, and samples that can be read."""
    names = fields.every("known_speaker_names")
    references = fields.every("known_speaker_references")
    if len(names) > MAX_SPEAKERS or len(references) > MAX_SPEAKERS:
        raise BadOptions(
            f"At most {MAX_SPEAKERS} speakers can be known.", param="known_speaker_names[]"
        )
    if references and len(names) != len(references):
        raise BadOptions(
            f"{len(names)} speakers are named and {len(references)} can be heard.",
            param="known_speaker_references[]",
        )
    for reference in references:
        if not _is_data_url(reference):
            raise BadOptions(
                "A speaker's sample is not a data URL with sound.",
                hint="Send data:audio/wav;base64,… of 2 to 10 seconds.",
                param="known_speaker_references[]",
            )


def _is_data_url(reference: str) -> bool:
    head = _DATA_URL.match(reference)
    if head is None:
        return False
    try:
        return bool(base64.b64decode(reference[head.end() :], validate=True))
    except (binascii.Error, ValueError):
        return False
