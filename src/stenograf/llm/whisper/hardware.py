"""What the model runs on: threads, device, number format."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stenograf.contract.errors import StenografError

if TYPE_CHECKING:
    import torch  # heavy, and not every engine needs it


_FAST_FLOAT16 = (7, 0)  # NVIDIA's Volta: tensor cores
_FAST_BFLOAT16 = (8, 0)  # Ampere


def available_cores() -> int:
    """Cores this process may use: its affinity, and the CPU quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass  # no cgroup 2, or "max": no quota
    return cores


def choose_device(name: str) -> "torch.device":
    """The device of a `DEVICE` setting; raises StenografError for a GPU that is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StenografError(
            f"DEVICE is {name}, but PyTorch sees {torch.cuda.device_count()} CUDA devices.",
            hint="Set DEVICE=cpu or auto, or install a CUDA build of PyTorch and the driver.",
        )
    return device


def choose_dtype(name: str, device: "torch.device", stored: str = "") -> "torch.dtype":
    """The dtype of a `TORCH_DTYPE` setting; auto is what the device computes fast.

    `stored` is the checkpoint's own, as its config.json says.
    """
    import torch

    if name == "auto":
        generation = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        name = suited_dtype(generation, stored)
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def suited_dtype(generation: tuple[int, int] | None, stored: str) -> str:
    """What a GPU of a compute capability computes fast; None is the CPU.

    Whisper was trained in float16. A checkpoint stored in bfloat16 may hold numbers beyond it.
    """
    if generation is None or generation < _FAST_FLOAT16:
        return "float32"
    if stored == "bfloat16" and generation >= _FAST_BFLOAT16:
        return "bfloat16"
    return "float16"
