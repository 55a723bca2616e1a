import pytest
from pydantic import ValidationError

from stenograf.contract.options import (
    CutOptions,
    NormalizeOptions,
    TranscribeOptions,
    describe,
)


def test_equal_options_have_equal_keys_however_they_were_spelled() -> None:
    spelled = TranscribeOptions.model_validate({"normalize": {"target_db": -20}})
    assert spelled.key() == TranscribeOptions().key()
    assert spelled == TranscribeOptions()
    assert hash(spelled) == hash(TranscribeOptions())


def test_any_changed_knob_changes_the_key() -> None:
    base = TranscribeOptions()
    changed = {
        TranscribeOptions.model_validate({group: {knob: value}}).key()
        for group, knob, value in [
            ("normalize", "method", "rms"),
            ("normalize", "target_peak", 0.5),
            ("cut", "chunk_size_s", 7),
            ("decode", "language", "en"),
            ("guard", "no_speech_threshold", 0.1),
        ]
    }
    assert len(changed) == 5
    assert base.key() not in changed


@pytest.mark.parametrize(
    "bad",
    [
        {"cut": {"chunk_size_s": 0}},
        {"cut": {"chunk_size_s": 31}},
        {"normalize": {"method": "loud"}},
        {"normalize": {"target_peak": 0}},
        {"normalize": {"target_db": -9.9}},
        {"normalize": {"target_db": float("nan")}},
        {"decode": {"language": "../etc"}},
        {"guard": {"logprob_threshold": float("-inf")}},
        {"unknown": 1},
    ],
)
def test_values_outside_their_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TranscribeOptions.model_validate(bad)


def test_the_page_can_draw_a_knob_from_its_description() -> None:
    chunk = describe(CutOptions, "chunk_size_s")
    assert (chunk["minimum"], chunk["maximum"], chunk["default"]) == (1, 30, 30)
    method = describe(NormalizeOptions, "method")
    assert {"as is", "peak", "rms", "lufs"} <= set(method["enum"])
    with pytest.raises(KeyError):
        describe(CutOptions, "no such knob")
