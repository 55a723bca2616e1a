"""One way's work as a process of its own, so that its cost can be seen.

`python -m bench.seed.worker WAY send FILE BACKEND_URL` or `… WAY process FILE` prints one JSON
object: CPU seconds, its own peak memory, the borders of the windows in seconds.
"""

import argparse
import importlib
import json
import resource
import sys
from pathlib import Path


def _cpu_s() -> float:
    """Of this process and its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


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
    began_s = _cpu_s()
    windows = getattr(way, parsed.work)(*arguments)
    figures = {
        "cpu_s": _cpu_s() - began_s,
        "peak_rss_bytes": _peak_rss_bytes(),
        "windows": windows or [],
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
