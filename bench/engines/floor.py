"""What PyTorch's kernels could do at best here: the model's arithmetic at their measured rates.

Code that uses better instructions than they do may be under it.

`python -m bench.engines.floor THREADS` prints the rates as JSON: int8 and float32
multiply-additions per second of large matrix products, and bytes per second read from memory.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.engines.checkpoints import VOCABULARY, Shape

_FRAMES, _BANDS = 1500, 80
_ROUNDS = 5


@dataclass(frozen=True)
class Rates:
    """Per second: int8 and float32 multiply-additions, bytes read."""

    int8: float
    float32: float
    read_bytes: float


def floor_s(shape: Shape, windows: int, tokens: int, batch: int, rates: Rates) -> float:
    """Seconds for `windows` full windows: matrices in int8, attention in float32, the decoder's
    weights read once per step of a batch and each window's int8 keys and values once per token."""
    width, layers = shape.width, shape.layers
    convolutions = 3 * _FRAMES * width * (2 * _BANDS + width)
    matrices = layers * 12 * _FRAMES * width**2 + convolutions
    cross = layers * 2 * _FRAMES * width**2
    attention = layers * 2 * _FRAMES**2 * width
    encoder = (matrices + cross) / rates.int8 + attention / rates.float32
    weights = layers * 14 * width**2 + VOCABULARY * width
    steps = tokens * -(-windows // batch)
    keys_values = tokens * windows * layers * 2 * _FRAMES * width
    return windows * encoder + (steps * weights + keys_values) / rates.read_bytes


def main() -> None:
    """Measure with PyTorch: its int8 and float32 products are those of oneDNN and fbgemm."""
    import torch

    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    linear = torch.nn.Linear(1024, 4096)
    quantized = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(linear), {torch.nn.Linear}, dtype=torch.qint8
    )
    given = torch.randn(_FRAMES, 1024)
    large = torch.randn(64 * 1024**2)
    work = _FRAMES * 1024 * 4096
    with torch.inference_mode():
        rates = {
            "int8": work / _best(lambda: quantized(given)),
            "float32": work / _best(lambda: linear(given)),
            "read_bytes": large.numel() * 4 / _best(lambda: large.sum()),
        }
    print("\n" + json.dumps(rates))


def _best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
