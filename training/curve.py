"""Draws the learning curve of all stages from the training log."""

from __future__ import annotations

import json
import shutil

import matplotlib

from training.paths import ARTEFACTS, WORK


def draw() -> None:
    """Write curve.png and a copy of the log under artefacts/training."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (WORK / "log.jsonl").read_text().splitlines()]
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(WORK / "log.jsonl", ARTEFACTS / "log.jsonl")
    minutes, before, last = [], 0.0, 0.0
    for row in rows:
        if row["minutes"] < last:
            before += last
        last = row["minutes"]
        minutes.append(before + last)
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    for name, label in (
        ("cross", "tokens (decoder)"),
        ("ctc", "letters (CTC)"),
        ("looks", "attention spans"),
    ):
        axes[0].plot(minutes, [row[name] for row in rows], label=label)
    axes[0].set(xlabel="minutes of training", ylabel="loss", yscale="log")
    axes[1].plot(minutes, [100 * row["accuracy"] for row in rows], color="black")
    axes[1].set(xlabel="minutes of training", ylabel="next token right, % (training windows)")
    for at in range(1, len(rows)):
        if rows[at]["stage"] != rows[at - 1]["stage"]:
            for axis in axes:
                axis.axvline(minutes[at], color="grey", linewidth=0.5)
            axes[0].text(minutes[at], axes[0].get_ylim()[1], rows[at]["stage"], fontsize=7)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(ARTEFACTS / "curve.png", dpi=90)


if __name__ == "__main__":
    draw()
