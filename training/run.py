"""Reproduces the embedded model: data, training in stages, export, samples, evaluation."""

from __future__ import annotations

import argparse
import subprocess
import sys

from training.paths import MODEL, WORK

# What each stage may take is given in minutes of an otherwise idle two-core machine.
STAGES: list[tuple[str, list[str]]] = []
STEPS = ("data", "train", "export", "samples", "evaluate")


def call(module: str, *arguments: str) -> None:
    """Run one of our modules in a process of its own."""
    subprocess.run([sys.executable, "-m", f"training.{module}", *arguments], check=True)


def train() -> None:
    """Run the stages, each from the checkpoint of the one before."""
    (WORK / "log.jsonl").unlink(missing_ok=True)
    start: list[str] = []
    for number, (stage, options) in enumerate(STAGES):
        checkpoint = str(WORK / f"{number}-{stage}.pt")
        call("train", stage, "--out", checkpoint, "--seed", str(7 + number), *start, *options)
        start = ["--start", checkpoint]


def main() -> None:
    """Run the named steps, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], default=list(STEPS))
    steps = parser.parse_args().steps
    last = f"{len(STAGES) - 1}-{STAGES[-1][0]}.pt"
    actions = {
        "data": lambda: call("synthesize"),
        "train": train,
        "export": lambda: call("export", str(WORK / last), "--out", str(MODEL)),
        "samples": lambda: call("samples"),
        "evaluate": lambda: (call("evaluate"), call("curve")),
    }
    for step in steps:
        actions[step]()


if __name__ == "__main__":
    main()
