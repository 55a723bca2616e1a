"""What the meter finds; apart from it, because scipy costs whoever imports it 30 MB."""

from typing import NamedTuple


class Measurement(NamedTuple):
    """What a recording measures, linear; None where the measure does not exist."""

    peak: float
    true_peak: float
    rms: float
    lufs: float | None
