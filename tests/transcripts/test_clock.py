from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.transcripts.clock import clock, milliseconds


def test_every_10_ms_instant_of_an_hour_is_exact() -> None:
    step = SAMPLE_RATE // 100
    for index in range(3600 * 100 + 1):
        hours, minutes, seconds = clock(milliseconds(index * step)).split(":")
        whole, thousandths = seconds.split(".")
        written_ms = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1000 + int(thousandths)
        assert written_ms == index * 10


@given(st.integers(0, 400 * 3600 * SAMPLE_RATE))
def test_rounds_once_to_the_nearest_millisecond(samples: int) -> None:
    error = Fraction(milliseconds(samples)) - Fraction(samples * 1000, SAMPLE_RATE)
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


def test_known_instants() -> None:
    assert clock(milliseconds(18_080), ",") == "00:00:01,130"
    assert clock(milliseconds(32_160)) == "00:00:02.010"
    assert clock(0) == "00:00:00.000"
    assert clock(3_599_999) == "00:59:59.999"
    assert clock(100 * 3_600_000) == "100:00:00.000"
