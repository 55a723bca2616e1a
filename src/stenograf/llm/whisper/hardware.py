"""What the model runs on: threads, device, number format."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stenograf.contract.errors import StenografError

if TYPE_CHECKING:
    import torch  # heavy, and not every engine needs it


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


def choose_dtype(name: str, device: "torch.device") -> "torch.dtype":
    """The dtype of a `TORCH_DTYPE` setting; auto is what the device computes fast."""
    import torch

    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    dtype: torch.dtype = getattr(torch, name)
    return dtype
