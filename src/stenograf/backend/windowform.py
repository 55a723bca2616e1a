"""The form that carries one window to a model service: ours, or another with OpenAI's API."""

import uuid
from dataclasses import dataclass

from stenograf.contract.options import TranscribeOptions

Fields = list[tuple[str, str]]

_TRANSCRIPTIONS, _TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


@dataclass(frozen=True)
class WindowForm:
    """Where a form goes, and what is in it beside the sound."""

    path: str
    fields: Fields

    def body(self, wav: bytes) -> tuple[bytes, str]:
        """The multipart body with a WAV file, and its media type."""
        boundary = f"stenograf-{uuid.uuid4().hex}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="window.wav"'
            "\r\nContent-Type: audio/wav\r\n\r\n"
        )
        body = b"".join(["".join([*parts, head]).encode(), wav, f"\r\n--{boundary}--\r\n".encode()])
        return body, f"multipart/form-data; boundary={boundary}"


def our_form(options: TranscribeOptions, model: str) -> WindowForm:
    """Everything that decides the text, for our own model service."""
    decode, guard = options.decode, options.guard
    fields = [
        ("model", model),
        ("response_format", "verbose_json"),
        ("task", decode.task),
        ("temperature", f"{decode.temperature:g}"),
        ("beam_size", str(decode.beam_size)),
        ("compression_ratio_threshold", f"{guard.compression_ratio_threshold:g}"),
        ("logprob_threshold", f"{guard.logprob_threshold:g}"),
        ("no_speech_threshold", f"{guard.no_speech_threshold:g}"),
        *_granularities(options),
    ]
    if decode.token_logprobs:
        fields.append(("include[]", "logprobs"))
    if decode.language == "auto":
        fields.append(("detect_language", "true"))
    else:
        fields.append(("language", decode.language))
    fields += [("languages[]", language) for language in decode.languages]
    if decode.prompt:
        fields.append(("prompt", decode.prompt))
    return WindowForm(_TRANSCRIPTIONS, fields)


def plain_form(options: TranscribeOptions, model: str, *, times: bool = True) -> WindowForm:
    """OpenAI's own fields, for any other server; without `times` text is all that is asked for.

    What OpenAI has no field for stays here, but for beams, which several servers take by this
    name. To name no language is to have it detected.
    """
    decode = options.decode
    fields = [("model", model), ("response_format", "verbose_json" if times else "json")]
    fields.append(("temperature", f"{decode.temperature:g}"))
    if decode.beam_size > 1:
        fields.append(("beam_size", str(decode.beam_size)))
    if decode.prompt:
        fields.append(("prompt", decode.prompt))
    if decode.task == "translate":
        return WindowForm(_TRANSLATIONS, fields)
    if times:
        fields += _granularities(options)
    if decode.language != "auto":
        fields.append(("language", decode.language))
    return WindowForm(_TRANSCRIPTIONS, fields)


def _granularities(options: TranscribeOptions) -> Fields:
    names = ("segment", "word") if options.decode.word_timestamps else ("segment",)
    return [("timestamp_granularities[]", name) for name in names]
