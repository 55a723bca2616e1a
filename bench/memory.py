"""`python -m bench.memory`: does memory grow with the length of a recording?

Decodes, measures, detects voices in and cuts a short and a long recording, each in a fresh process,
and compares the largest resident set of that process and of the decoding process it starts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.longfile import make_wav

MIB = 1024**2
GOAL_BYTES = 60 * MIB

_PIPELINE = """
import json, resource, sys
from pathlib import Path
from stenograf.audio import decode_process
from stenograf.audio.decode import DecodeLimits, decode
from stenograf.audio.loudness import gain
from stenograf.audio.spool import Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import cut, quietest_in
from stenograf.contract.options import CutOptions, NormalizeOptions
source, spool_path = map(Path, sys.argv[1:])
decoded = decode(source, spool_path, DecodeLimits(min_free_bytes=0))
decode_process.shut_down()  # the system tells its peak only of what has ended
factor, _ = gain(decoded.level, NormalizeOptions())
with Spool(spool_path) as spool:
    options = CutOptions()
    spans = VoiceDetector().spans(spool.blocks(), options, factor)
    no_vad = options.model_copy(update={"vad": False})
    cut(spans, spool.n_samples, options, quietest_in(spool))
    whole = cut(spans, spool.n_samples, no_vad, quietest_in(spool))
    heard = sum(len(spool.read(window.start, window.end)) for window in whole)
assert heard == decoded.n_samples
peak = {
    who: resource.getrusage(which).ru_maxrss * 1024
    for who, which in (("service", resource.RUSAGE_SELF), ("decoder", resource.RUSAGE_CHILDREN))
}
print(json.dumps({"windows": len(whole), **peak}))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 where memory grows by more than the goal."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", type=float, default=2.0, help="minutes; 10 for the full figure")
    parser.add_argument("--long", type=float, default=15.0, help="minutes; 180 for the full figure")
    parser.add_argument("--folder", help="where to put the files (0.9 GB an hour)")
    options = parser.parse_args(arguments)
    print(f"{'minutes':>8}{'windows':>9}{'service MB':>12}{'decoder MB':>12}")
    short, long = (_measure(minutes, options.folder) for minutes in (options.short, options.long))
    grown = max(long[who] - short[who] for who in ("service", "decoder"))
    reached = grown < GOAL_BYTES
    print(
        f"{'reached' if reached else 'MISSED'}: growth {grown / MIB:.1f} MB, "
        f"goal under {GOAL_BYTES // MIB} MB"
    )
    return 0 if reached else 1


def _measure(minutes: float, folder: str | None) -> dict[str, int]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source, spool = Path(name) / "long.wav", Path(name) / "spool"
        make_wav(source, minutes * 60)
        answer = subprocess.run(
            [sys.executable, "-c", _PIPELINE, str(source), str(spool)],
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, int] = json.loads(answer.stdout)
    print(
        f"{minutes:8g}{found['windows']:9}"
        f"{found['service'] / MIB:12.1f}{found['decoder'] / MIB:12.1f}"
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
