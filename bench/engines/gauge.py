"""How a measured process tells its figures; standard library only, peers use it too."""

import json
from pathlib import Path


def peak_rss_bytes() -> int:
    """Largest resident memory of this process since it began (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def finish(load_s: float, seconds: float, texts: list[str]) -> None:
    """Print the figures as the last line of standard output."""
    figures = {
        "load_s": load_s,
        "seconds": seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "texts": texts,
    }
    print("\n" + json.dumps(figures, ensure_ascii=False))
