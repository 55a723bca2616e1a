"""Reproduces the embedded model: data, training in stages, export, samples, evaluation."""

from __future__ import annotations

import argparse
import subprocess
import sys

from training.paths import MODEL, WORK

# Each entry: a stage of `train`, its minutes on an otherwise idle two-core machine and its options;
# "align" cuts the human recordings with the network so far, "grow" adds a layer to its decoder.
STAGES: list[tuple[str, float, str]] = [
    ("short", 10, "--rate 2e-3 --ctc 1.0 --words 1.0"),
    ("middle", 20, "--rate 1.5e-3 --floor 0.4 --ctc 0.6 --words 0.8"),
    ("align", 0, ""),
    ("full", 30, "--rate 1.2e-3 --ctc 0.4 --words 0.3 --average 0.997 --replays 3"),
    ("grow", 0, ""),
    ("full", 60, "--rate 1e-3 --ctc 0.3 --words 0.1 --average 0.997 --replays 4"),
    ("padded", 120, "--rate 7e-4 --ctc 0.3 --words 0.1 --average 0.998 --replays 4"),
]
STEPS = ("data", "train", "export", "samples", "evaluate")


def call(module: str, *arguments: str) -> None:
    """Run one of our modules in a process of its own."""
    subprocess.run([sys.executable, "-m", f"training.{module}", *arguments], check=True)


def train(scale: float) -> None:
    """Run the stages, each from the checkpoint of the one before, `scale` times as long."""
    (WORK / "log.jsonl").unlink(missing_ok=True)
    start: list[str] = []
    for number, (stage, minutes, options) in enumerate(STAGES):
        if stage == "align":
            call("align", start[-1])
            continue
        checkpoint = str(WORK / f"{number}-{stage}.pt")
        if stage == "grow":
            call("grow", start[-1], "--out", checkpoint)
            start = ["--start", checkpoint]
            continue
        seed, length = str(7 + number), str(minutes * scale)
        own = ["--minutes", length, "--seed", seed, "--out", checkpoint]
        call("train", stage, *start, *own, *options.split())
        start = ["--start", checkpoint]


def evaluate() -> None:
    """Measure, then write the model card and the curve from what was measured."""
    for module in ("evaluate", "card", "curve"):
        call(module)


def main() -> None:
    """Run the named steps, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    # argparse holds "none given" against the choices too
    parser.add_argument("steps", nargs="*", metavar="STEP", choices=[*STEPS, []], help=str(STEPS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the minutes of training")
    parsed = parser.parse_args()
    last = f"{len(STAGES) - 1}-{STAGES[-1][0]}.pt"
    actions = {
        "data": lambda: call("synthesize"),
        "train": lambda: train(parsed.scale),
        "export": lambda: call("export", str(WORK / last), "--out", str(MODEL)),
        "samples": lambda: call("samples"),
        "evaluate": evaluate,
    }
    for step in parsed.steps or STEPS:
        actions[step]()


if __name__ == "__main__":
    main()
