"""Gaps and jumps in a file's clock."""

import pytest

from stenograf.audio.timeline import MAX_GAP_S, Timeline


def test_frames_in_a_row_need_no_silence() -> None:
    timeline = Timeline("matroska,webm", None)
    assert [timeline.gap_before(5 + k * 0.02, 0.02) for k in range(500)] == [0.0] * 500


def test_rounded_clocks_need_no_silence() -> None:
    timeline = Timeline("matroska,webm", None)
    length_s = 1152 / 44_100
    assert not any(timeline.gap_before(round(k * length_s, 3), length_s) for k in range(100_000))


def test_frames_without_a_clock_follow_one_another() -> None:
    timeline = Timeline("mp3", None)
    assert not any(timeline.gap_before(None, 1.0) for _ in range(5))
    assert timeline.gap_before(3.0, 1.0) == 0.0  # the first time seen is the anchor
    assert timeline.gap_before(None, 1.0) == 0.0
    assert timeline.gap_before(5.0, 1.0) == 0.0


def test_a_hole_becomes_silence_once() -> None:
    timeline = Timeline("ogg", 0.0)
    assert timeline.gap_before(0.0, 1.0) == 0.0
    assert timeline.gap_before(3.5, 1.0) == pytest.approx(2.5)
    assert timeline.gap_before(4.5, 1.0) == 0.0
    assert (timeline.filled_s, timeline.jumps) == (pytest.approx(2.5), 0)


def test_a_slow_clock_is_followed_within_a_tenth_of_a_second() -> None:
    timeline = Timeline("mov,mp4", 0.0)
    placed_s = 0.0
    for frame in range(10_000):  # the clock runs 0.1 % slower than the samples
        true_s = frame * 0.02002
        placed_s += timeline.gap_before(true_s, 0.02)
        assert abs(placed_s - true_s) < 0.101
        placed_s += 0.02


@pytest.mark.parametrize("time_s", [-1e6, -5.0, MAX_GAP_S + 100])
def test_a_jump_of_an_unreliable_clock_moves_nothing(time_s: float) -> None:
    timeline = Timeline("mpegts", 0.0)
    assert timeline.gap_before(0.0, 1.0) == 0.0
    assert timeline.gap_before(time_s, 1.0) == 0.0
    assert timeline.gap_before(time_s + 1, 1.0) == 0.0
    assert (timeline.filled_s, timeline.jumps) == (0.0, 1)


def test_an_hour_of_muting_is_an_hour_of_silence() -> None:
    timeline = Timeline("matroska,webm", 0.0)
    assert timeline.gap_before(3600.0, 1.0) == 3600.0


def test_sound_after_the_picture() -> None:
    assert Timeline("mov,mp4", -0.5).gap_before(1.0, 0.1) == pytest.approx(1.5)
