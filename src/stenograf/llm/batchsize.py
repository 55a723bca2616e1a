"""How many windows share a forward pass: what pays differs by engine and device."""

from dataclasses import dataclass

from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.llm.engines.base import Capabilities

_ON_GPU = 16
_ON_CPU = {
    "native": 8,  # reads its weights once for all rows; the others gain little beyond 4
    "fake": 1,
}
_ON_CPU_OTHERWISE = 4
_LONG_ON_CPU = 4  # windows of full length: the batch after that waits for all of their encoders


@dataclass(frozen=True)
class BatchSize:
    """At most so many windows, with so many samples of sound in them together."""

    windows: int
    samples: int

    def __str__(self) -> str:
        return f"{self.windows} windows, {self.samples / SAMPLE_RATE:g} s"


def batch_size(asked: int, known: Capabilities) -> BatchSize:
    """`asked` windows of any length; 0 takes what suits the engine, counting in sound as well."""
    if asked:
        return BatchSize(asked, asked * known.max_window_samples)
    if known.device.startswith("cuda"):
        return BatchSize(_ON_GPU, _ON_GPU * known.max_window_samples)
    windows = _ON_CPU.get(known.engine, _ON_CPU_OTHERWISE)
    return BatchSize(windows, _LONG_ON_CPU * known.max_window_samples)
