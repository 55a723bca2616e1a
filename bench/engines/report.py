"""Runs to a table and a plot: medians, ratios, memory, text, distance to the floor."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import jiwer

GIB = 1024**3
_BAR_HEIGHT, _BAR_STEP, _LABEL_WIDTH, _WIDTH = 20, 30, 190, 760
_PEER_MARKS = ("faster-whisper", "pipeline", "openai", "whisper.cpp")
_BASELINES = (("faster-whisper", "faster-whisper's best"), ("transformers pipeline", "pipeline"))


class _Run(Protocol):
    engine: str
    seconds: float
    load_s: float
    peak_rss_bytes: int
    texts: tuple[str, ...]
    error: str


def line(run: _Run) -> str:
    """One run, one line."""
    if run.error:
        return f"{run.engine:28} failed: {run.error[:100]}"
    return f"{run.engine:28} {run.seconds:8.2f} s  {run.peak_rss_bytes / GIB:5.2f} GiB"


@dataclass(frozen=True)
class Table:
    """All runs of one comparison."""

    title: str
    runs: Sequence[_Run]
    floor_s: float | None
    reference: str
    threads: int

    @cached_property
    def medians(self) -> dict[str, float]:
        """Seconds of each engine that finished, fastest first."""
        times: dict[str, list[float]] = {}
        for run in self.runs:
            if not run.error:
                times.setdefault(run.engine, []).append(run.seconds)
        found = {engine: statistics.median(each) for engine, each in times.items()}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def markdown(self) -> str:
        """A table with the machine named."""
        rounds = max((sum(r.engine == e for r in self.runs) for e in self.medians), default=0)
        columns = ["engine", "seconds (median)", "spread"]
        baselines = {name: self._baseline(mark) for mark, name in _BASELINES}
        baselines = {name: seconds for name, seconds in baselines.items() if seconds}
        columns += [f"times {name}" for name in baselines]
        columns += ["of the libraries' floor"] if self.floor_s else []
        columns += ["peak memory, GiB", "word errors" if self.reference else "text as the others'"]
        lines = [f"**{self.title}**, {self.threads} threads, {rounds} rounds, {machine()}", ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += [self._row(engine, list(baselines.values())) for engine in self.medians]
        failed = {run.engine: run.error for run in self.runs if run.error}
        lines += [f"| {e} | does not run: {why[:80]} |" for e, why in failed.items()]
        if self.floor_s:
            lines += ["", f"Libraries' floor: {self.floor_s:.2f} s."]
        return "\n".join(lines)

    def _baseline(self, mark: str) -> float | None:
        return min((s for e, s in self.medians.items() if e.startswith(mark)), default=None)

    def _row(self, engine: str, baselines: Sequence[float | None]) -> str:
        seconds = self.medians[engine]
        runs = [run for run in self.runs if run.engine == engine and not run.error]
        times = [run.seconds for run in runs]
        cells = [engine, f"{seconds:.2f}", f"{min(times):.2f} to {max(times):.2f}"]
        cells += [f"{baseline / seconds:.2f}" for baseline in baselines if baseline]
        cells += [f"{seconds / self.floor_s:.1f}" if self.floor_s else ""] * bool(self.floor_s)
        cells.append(f"{max(run.peak_rss_bytes for run in runs) / GIB:.2f}")
        said = " ".join(runs[0].texts)
        if self.reference:
            cells.append(f"{jiwer.wer(_words(self.reference), _words(said)):.1%}")
        else:
            cells.append("yes" if _words(said) == self._common else "no")
        return "| " + " | ".join(cells) + " |"

    @cached_property
    def _common(self) -> str:
        texts = [_words(" ".join(run.texts)) for run in self.runs if not run.error]
        return statistics.mode(texts)

    def svg(self) -> str:
        """Horizontal bars, seconds; ours dark, peers light."""
        longest = max(self.medians.values())
        scale = (_WIDTH - _LABEL_WIDTH - 80) / longest
        height = 40 + _BAR_STEP * len(self.medians)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            f'<text x="8" y="20" font-weight="bold">Seconds: {self.title}, '
            f"{self.threads} threads</text>",
        ]
        for i, (engine, seconds) in enumerate(self.medians.items()):
            y = 34 + i * _BAR_STEP
            colour = "#b8c4d6" if any(mark in engine for mark in _PEER_MARKS) else "#1f5fae"
            parts += [
                f'<text x="{_LABEL_WIDTH - 8}" y="{y + 15}" text-anchor="end">{engine}</text>',
                f'<rect x="{_LABEL_WIDTH}" y="{y}" width="{seconds * scale:.1f}" '
                f'height="{_BAR_HEIGHT}" fill="{colour}"/>',
                f'<text x="{_LABEL_WIDTH + seconds * scale + 6:.1f}" y="{y + 15}">'
                f"{seconds:.1f}</text>",
            ]
        if self.floor_s:
            x = _LABEL_WIDTH + self.floor_s * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="{height}" stroke="#c0392b" '
                'stroke-dasharray="4 3"/>'
            )
        return "\n".join([*parts, "</svg>", ""])


def machine() -> str:
    """The processor by its own name, and what of it may be used."""
    name = platform.processor() or platform.machine()
    for entry in Path("/proc/cpuinfo").read_text().splitlines():
        if entry.startswith("model name"):
            name = entry.split(":", 1)[1].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower().replace("ё", "е")))
