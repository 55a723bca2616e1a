"""One way's work as a process of its own, so that its cost can be seen.

`python -m bench.seed.worker WAY send FILE BACKEND_URL` or `… WAY process FILE` prints one JSON
object: CPU seconds, its own peak memory, the borders of the windows in seconds.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

from bench.seed.gauges import cpu_s


def _peak_rss_bytes() -> int:
    # ru_maxrss would also count the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Do one way's work on one file and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["seed", "our"])
    parser.add_argument("work", choices=["send", "process"])
    parser.add_argument("file", type=Path)
    parser.add_argument("url", nargs="?")
    parsed = parser.parse_args()
    way = importlib.import_module(f"bench.seed.{parsed.way}_way")
    arguments = [parsed.file] if parsed.url is None else [parsed.file, parsed.url]
    if parsed.work == "process":
        way.process(parsed.file)  # not counted: in a service everything is loaded already
    began_s = cpu_s(os.getpid())
    windows = getattr(way, parsed.work)(*arguments)
    figures = {
        "cpu_s": cpu_s(os.getpid()) - began_s,
        "peak_rss_bytes": _peak_rss_bytes(),
        "windows": windows or [],
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
