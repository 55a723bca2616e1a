"""Whose turn it is among windows that wait for the model, and who shares a batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.line import Line, Pending

RU = EngineOptions()
EN = EngineOptions(decode=DecodeOptions(language="en"))
FULL_S = 30.0


def window(length_s: float, recording: str = "", options: EngineOptions = RU) -> Pending:
    return Pending(np.zeros(round(length_s * SAMPLE_RATE), np.float32), options, recording)


def line_of(*windows: Pending) -> Line:
    line = Line()
    for each in windows:
        line.join(each)
    return line


def test_a_clip_is_served_before_the_windows_of_a_long_file() -> None:
    clip = window(3)
    line = line_of(*(window(FULL_S, "file") for _ in range(8)), clip)
    assert line.take(8) == [clip]
    assert len(line.take(8)) == 8


def test_a_single_long_window_is_served_second_beside_a_long_file() -> None:
    file = [window(FULL_S, "file") for _ in range(8)]
    note = window(FULL_S, "note")
    line = line_of(*file, note)
    assert line.take(1) == [file[0]]
    assert line.take(1) == [note]
    assert line.take(1) == [file[1]]


def test_windows_of_one_recording_keep_their_order() -> None:
    file = [window(length_s, "file") for length_s in (30, 2, 14, 1)]
    line = line_of(*file)
    assert [line.take(1) for _ in file] == [[each] for each in file]


def test_clips_without_end_do_not_keep_a_long_window_waiting() -> None:
    long = window(FULL_S, "file")
    line = line_of(long)
    clips_before = 0
    line.join(window(3))
    while long not in line.take(1):
        clips_before += 1
        line.join(window(3))
    assert 0 < clips_before <= FULL_S / 3


def test_a_recording_that_paused_does_not_save_turns_up() -> None:
    line = line_of(*(window(FULL_S, "busy") for _ in range(10)))
    for _ in range(10):
        line.take(1)
    late = [window(FULL_S, "late") for _ in range(3)]
    busy = [window(FULL_S, "busy") for _ in range(3)]
    for each in [*late, *busy]:
        line.join(each)
    order = [line.take(1)[0].recording for _ in range(6)]
    assert order == ["late", "busy", "late", "busy", "late", "busy"]


def test_a_batch_is_bounded_in_sound_too() -> None:
    line = line_of(*(window(FULL_S, "file") for _ in range(8)))
    assert len(line.take(8, round(4 * FULL_S * SAMPLE_RATE))) == 4
    assert len(line.take(8, SAMPLE_RATE)) == 1  # never none
    line = line_of(*(window(5) for _ in range(8)))
    assert len(line.take(8, round(4 * FULL_S * SAMPLE_RATE))) == 8


def test_other_options_and_much_longer_windows_are_no_company() -> None:
    clip, twin, longer = window(3), window(4), window(25)
    line = line_of(longer, clip, twin, window(3, options=EN))
    assert line.ready() == 2
    assert line.take(8) == [clip, twin]


def test_a_clip_waits_less_for_a_file_than_for_other_clips() -> None:
    clip, other, note = window(3), window(20), window(20, "note")
    file = [window(20, "file") for _ in range(3)]
    line = line_of(clip, *file, other, note)
    assert line.ready() == 3
    assert line.take(8) == [clip, other, note]
    assert line.take(8) == file


lengths = st.lists(st.floats(0, FULL_S), min_size=1, max_size=30)


@given(st.dictionaries(st.sampled_from("abcd"), lengths, min_size=1), st.integers(1, 8))
def test_everybody_is_taken_once_in_batches_of_one_kind(
    recordings: dict[str, list[float]], most: int
) -> None:
    everybody = [window(x, name) for name, lengths_s in recordings.items() for x in lengths_s]
    line = line_of(*everybody)
    taken = []
    while batch := line.take(most):
        assert len(batch) <= most
        assert len({each.options for each in batch}) == 1
        taken += batch
    assert sorted(map(id, taken)) == sorted(map(id, everybody))
    assert len(line) == line.ready() == 0


@given(lengths, lengths)
def test_equal_recordings_get_equal_sound(ones: list[float], others: list[float]) -> None:
    """While both wait, neither is ahead of the other by more than a window."""
    line = line_of(*(window(x, "one") for x in ones), *(window(x, "other") for x in others))
    left = {"one": len(ones), "other": len(others)}
    sound_s = {"one": 0.0, "other": 0.0}
    while all(left.values()):
        (taken,) = line.take(1)
        left[taken.recording] -= 1
        sound_s[taken.recording] += max(1.0, len(taken.window) / SAMPLE_RATE)
        assert abs(sound_s["one"] - sound_s["other"]) <= FULL_S + 1e-3
