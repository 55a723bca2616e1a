"""The fields of `POST /v1/audio/transcriptions`, checked before anything is computed."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from stenograf.contract.errors import BadRequest, ModelNotFound
from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.llm.engines.base import Capabilities, EngineOptions
from stenograf.transcripts.languages import code_of

M = TypeVar("M", bound=BaseModel)

Format = Literal["json", "verbose_json", "text"]
FORMATS: tuple[Format, ...] = ("json", "verbose_json", "text")

ALIASES = frozenset(
    {
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-transcribe",
    }
)
"""Names that OpenAI's clients send unless told otherwise; here they mean the one model there is."""

_DECODE_FIELDS = ("task", "prompt", "beam_size", "temperature")
_GUARD_FIELDS = ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold")


@dataclass(frozen=True)
class TranscriptionForm:
    """A checked request."""

    file: UploadFile
    response_format: Format
    options: EngineOptions
    with_words: bool


def parse(form: FormData, capabilities: Capabilities) -> TranscriptionForm:
    """Check a form; raises BadRequest or ModelNotFound that names the field at fault."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadRequest("The form has no part named file with a recording.", param="file")
    check_model(str(form.get("model") or ""), capabilities)
    response_format = str(form.get("response_format") or "json")
    known = next((f for f in FORMATS if f == response_format), None)
    if known is None:
        raise BadRequest(
            f"response_format {response_format[:40]!r} is not known here.",
            hint=f"Known: {', '.join(FORMATS)}. The backend (port 8009) also writes srt and vtt.",
            param="response_format",
        )
    with_words = "word" in _granularities(form, known)
    decode = _fields(form, _DECODE_FIELDS)
    decode["language"] = _language(str(form.get("language") or ""))
    decode["word_timestamps"] = with_words
    options = EngineOptions(
        decode=_build(DecodeOptions, decode),
        guard=_build(GuardOptions, _fields(form, _GUARD_FIELDS)),
    )
    capabilities.check(options.decode)
    return TranscriptionForm(file, known, options, with_words)


def check_model(name: str, capabilities: Capabilities) -> None:
    """Raise ModelNotFound unless `name` is empty, an alias, or the model that is served."""
    served = (capabilities.model, capabilities.model.rsplit("/", 1)[-1])
    if name and name not in ALIASES and name not in served:
        raise ModelNotFound(
            f"The model {name[:200]!r} is not served here.",
            hint=f"This service has {capabilities.model}.",
            param="model",
        )


def _granularities(form: FormData, response_format: Format) -> set[str]:
    given = {
        str(value)
        for name in ("timestamp_granularities[]", "timestamp_granularities")
        for value in form.getlist(name)
    }
    if unknown := given - {"word", "segment"}:
        raise BadRequest(
            f"timestamp_granularities {sorted(unknown)[0][:40]!r} is neither word nor segment.",
            param="timestamp_granularities[]",
        )
    if given and response_format != "verbose_json":
        raise BadRequest(
            "timestamp_granularities needs response_format=verbose_json.",
            param="timestamp_granularities[]",
        )
    return given


def _language(given: str) -> str:
    """A code for a code or English name; nothing given means, as with OpenAI, to detect it."""
    if not given or given.lower() == "auto":
        return "auto"
    return code_of(given) or given


def _fields(form: FormData, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: form[name] for name in names if form.get(name) not in (None, "")}


def _build(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        raise BadRequest(f"{field}: {first['msg']}", param=field) from exc
