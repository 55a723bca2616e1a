"""Our own options beside OpenAI's fields, as `extra_body` sends them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from stenograf.contract.errors import BadOptions
from stenograf.contract.options import (
    CutOptions,
    DecodeOptions,
    GuardOptions,
    NormalizeOptions,
    TranscribeOptions,
)
from stenograf.openai_audio.fields import Fields

_GROUPS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "normalize": NormalizeOptions,
        "cut": CutOptions,
        "decode": DecodeOptions,
        "guard": GuardOptions,
    }
)
_OPENAI_OWN = frozenset(
    {"language", "languages", "prompt", "temperature", "task", "token_logprobs"}
)
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vad": ("vad_filter",),
        "method": ("normalize", "normalize_method", "norm_algo"),
        "logprob_threshold": ("log_prob_threshold",),
    }
)
"""What other servers and the page call the same thing."""


def knobs(fields: Fields) -> dict[str, dict[str, Any]]:
    """Groups of `TranscribeOptions` as far as the form names them, not checked yet.

    A knob is given by its own name (`beam_size=5`) or in its group (`cut[vad]=false`, or
    `cut={"vad": false}`).
    """
    return {
        group: _group(fields, fields.inside(group), options) for group, options in _GROUPS.items()
    }


def _group(fields: Fields, nested: Mapping[str, Any], options: type[BaseModel]) -> dict[str, Any]:
    return {
        name: value
        for name in options.model_fields
        if name not in _OPENAI_OWN and (value := _value(fields, nested, name)) not in (None, "")
    }


def _value(fields: Fields, nested: Mapping[str, Any], name: str) -> Any:
    if name in nested:
        return nested[name]
    value = fields.text(name, *_OTHER_NAMES.get(name, ()))
    return "" if value.startswith("{") else value  # `normalize` is a group and a short name


def checked(
    model: str, groups: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> TranscribeOptions:
    """The options, or BadOptions that names the field; `names` has those that clients spell
    otherwise."""
    try:
        return TranscribeOptions.model_validate({"model": model, **groups})
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        knob = str(first["loc"][-1])
        name = names.get(knob, knob)
        raise BadOptions(f"{name}: {first['msg']}.", param=name) from None
