"""`python -m bench.engines --device cuda`: the transformers engine by batch size, lever by lever.

For each shape and batch size the seconds for one batch of full windows, the sound per second, how
much of that the device could do at best (its own measured matrix products and copies, `Floor`),
and the same with one lever turned back at a time. Word times are off: they are found on the host.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.engines.checkpoints import SHAPES, VOCABULARY, Shape, checkpoint
from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, SAMPLE_RATE
from stenograf.llm.engines.base import Engine, EngineOptions
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.hf_whisper import Ways, load_hf_whisper

LEVERS = {
    "all levers": Ways(features_on_device=True, constant_shapes=True, recorded=True),
    "features on the host": Ways(features_on_device=False, constant_shapes=True, recorded=True),
    "steps not recorded": Ways(features_on_device=True, constant_shapes=True, recorded=False),
    "growing cache, logits to the host": Ways(
        features_on_device=True, constant_shapes=False, recorded=False
    ),
}
_FRAMES = 1500
_WINDOW_S = MAX_WINDOW_SAMPLES / SAMPLE_RATE


@dataclass(frozen=True)
class DeviceRates:
    """What a device does at best in a number format of `item_bytes` bytes: multiply-additions of
    a large matrix product, and bytes that a copy reads and writes, per second."""

    products: float
    copied_bytes: float
    item_bytes: int

    def floor_s(self, shape: Shape, windows: int, tokens: int) -> float:
        """Seconds for a batch: the encoder's arithmetic, then as many steps as tokens, each bound
        by the larger of its arithmetic and of reading weights, keys and values once."""
        width, layers = shape.width, shape.layers
        convolutions = 3 * _FRAMES * width * (2 * shape.bands + width)
        encoder = layers * (14 * _FRAMES * width**2 + 2 * _FRAMES**2 * width) + convolutions
        weights = layers * 14 * width**2 + VOCABULARY * width
        keys_values = layers * 2 * _FRAMES * width
        computed_s = windows * (weights + keys_values) / self.products
        read_s = (weights + windows * keys_values) * self.item_bytes / self.copied_bytes
        return windows * encoder / self.products + tokens * max(computed_s, read_s)


@dataclass(frozen=True)
class Measured:
    """One shape, batch size and lever; `error` where it gave no figure."""

    shape: str
    windows: int
    lever: str
    seconds: float = 0.0
    floor_s: float = 0.0
    error: str = ""

    def line(self) -> str:
        """A row of a table in Markdown."""
        cells = [self.shape, str(self.windows), self.lever]
        if self.error:
            return "| " + " | ".join([*cells, self.error, "", ""]) + " |"
        speed = self.windows * _WINDOW_S / self.seconds
        cells += [f"{self.seconds:.3f}", f"{speed:.0f}", f"{self.floor_s / self.seconds:.0%}"]
        return "| " + " | ".join(cells) + " |"


def compare(
    device: str, shapes: Sequence[str], batches: Sequence[int], tokens: int, rounds: int, home: Path
) -> None:
    """Measure everything and print it as it comes."""
    print(f"{device_name(device)}, {tokens} tokens in each window of {_WINDOW_S:g} s\n")
    print("| shape | batch | lever | seconds | sound s / s | share of the floor |")
    print("|---|---|---|---|---|---|")
    for shape in shapes:
        folder = checkpoint(shape, tokens, home)
        for lever, ways in LEVERS.items():
            for found in _measured(device, shape, folder, lever, ways, batches, tokens, rounds):
                print(found.line(), flush=True)


def _measured(
    device: str,
    shape: str,
    folder: Path,
    lever: str,
    ways: Ways,
    batches: Sequence[int],
    tokens: int,
    rounds: int,
) -> Iterator[Measured]:
    settings = EngineSettings(
        engine="transformers",
        model=str(folder),
        dtype="auto",
        device=device,
        threads=0,
        data_dir=folder.parent / "data",
        hf_home=folder.parent / "hf",
    )
    engine = load_hf_whisper(settings, lambda *_: None, ways)
    rates = device_rates(torch.device(device), getattr(torch, engine.capabilities.dtype))
    for windows in batches:
        floor_s = rates.floor_s(SHAPES[shape], windows, tokens)
        try:
            seconds = _batch_s(engine, windows, tokens, rounds)
        except Exception as exc:
            yield Measured(shape, windows, lever, error=f"{type(exc).__name__}: {exc}")
        else:
            yield Measured(shape, windows, lever, seconds, floor_s)
    engine.close()


def _batch_s(engine: Engine, windows: int, tokens: int, rounds: int) -> float:
    """Median seconds for one batch, after one that is not counted. Raises RuntimeError where the
    text has not as many tokens as it should."""
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, 0.1, MAX_WINDOW_SAMPLES).astype(np.float32) for _ in range(windows)]
    options = EngineOptions(
        DecodeOptions(language="ru", word_timestamps=False),
        GuardOptions(logprob_threshold=-1000, compression_ratio_threshold=1000),
    )
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        results = engine.transcribe(sounds, options)
        times.append(time.perf_counter() - began)
    said = {sum(len(segment.tokens) for segment in result.segments) for result in results}
    if said != {tokens}:
        raise RuntimeError(f"{sorted(said)} tokens were written, not {tokens}")
    return statistics.median(times[1:])


def device_rates(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    """Measure a device: best of several, sizes that fill it."""
    side, length = (8192, 2**30) if device.type == "cuda" else (1024, 2**25)
    matrix = torch.randn((side, side), device=device).to(dtype)
    source = torch.zeros(length, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    products_s = _best_s(device, lambda: matrix @ matrix)
    copy_s = _best_s(device, lambda: target.copy_(source))
    return DeviceRates(side**3 / products_s, 2 * length / copy_s, matrix.element_size())


def _best_s(device: torch.device, work: Callable[[], object], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        _settle(device)
        began = time.perf_counter()
        work()
        _settle(device)
        times.append(time.perf_counter() - began)
    return min(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: str) -> str:
    """What it is, by its own name."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"CPU, {torch.get_num_threads()} threads"
