"""Writes the model card from its template and the measured figures: neither can go stale."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from training.paths import MODEL, WORK

_ROWS = {
    "a_seen_voices": "(a) synthetic voices of training, new sentences",
    "a_unit_selection": "(a) unit-selection man of training, new sentences",
    "b_held_out_voice": "(b) a synthetic voice never heard (espeak-ng, variant Andrea)",
    "c_human_held_out": "(c) a woman's recordings never heard (other prompts of hers were)",
    "c_human_joined_words": "(c) her recorded words joined into new sentences",
    "d_telephone": "(d) of (a) and (c), telephone band with mu-law",
    "e_noise_0_20_db": "(e) of (a) and (c), noise, hum or music 0-20 dB below the speech",
    "x_human_man_open_vocabulary": "outside the domain: a man reads literature",
}


def _services_table(report: dict[str, dict[str, float]]) -> str:
    engines = list(report)
    rows = ["| test set | " + " | ".join(engines) + " |", "| --- " * (len(engines) + 1) + "|"]
    for key, title in _ROWS.items():
        if key in report[engines[0]]:
            rows.append(f"| {title} | " + " | ".join(str(report[e][key]) for e in engines) + " |")
    same = " | ".join(str(report[engine]["same_percent"]) for engine in engines)
    return "\n".join([*rows, f"| same text as {engines[0]}, % of clean recordings | {same} |"])


def render(report: dict[str, dict[str, float]]) -> str:
    """Return the model card's text."""
    table = [
        f"| {title} | {report[key]['wer']} | {report[key]['cer']} | {report[key]['words']} |"
        for key, title in _ROWS.items()
    ]
    for name, row in report.items():
        if name.endswith(".flac"):
            table.append(f"| shipped `{name}` | {row['wer']} | {row['cer']} | {row['words']} |")
    times, quiet = report["times"], report["false_text"]
    engines, speed = report["engines"], report["speed"]
    template = Template((Path(__file__).parent / "card.md").read_text(encoding="utf-8"))
    return template.substitute(
        table="\n".join(table),
        border=times["segment_border_ms"],
        start=times["word_start_ms"],
        end=times["word_end_ms"],
        false_windows=quiet["windows_with_text"],
        quiet_windows=quiet["windows"],
        no_speech=quiet["no_speech_min"],
        float32=engines["float32"]["same_percent"],  # type: ignore[index]
        int8=engines["int8"]["same_percent"],  # type: ignore[index]
        compared=engines["int8"]["windows"],  # type: ignore[index]
        seconds=speed["seconds_per_10_s"],
        services=_services_table(report["services"]),  # type: ignore[arg-type]
    )


def main() -> None:
    """Write data/models/whisper-demo-ru/README.md from evaluation.json."""
    report = json.loads((WORK / "evaluation.json").read_text(encoding="utf-8"))
    (MODEL / "README.md").write_text(render(report), encoding="utf-8")


if __name__ == "__main__":
    main()
