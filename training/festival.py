"""Festival's Russian unit-selection voice: a real man's recordings, cut and rejoined."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

_SCRIPT = """
(voice_msu_ru_nsh_clunits)
(Parameter.set 'Duration_Stretch 1.0)
(define (say text wave times)
  (let ((utt (SynthText text)) (out (fopen times "w")))
    (utt.save.wave utt wave)
    (mapcar (lambda (word)
      (format out "%s %f %f\\n" (item.name word)
        (item.feat word 'word_start) (item.feat word 'word_end)))
      (utt.relation.items utt 'Word))
    (fclose out)))
(define (SynthText text) (utt.synth (eval (list 'Utterance 'Text text))))
"""


def say_all(
    texts: list[str], chunk: int = 100
) -> Iterator[tuple[str, npt.NDArray[np.int16], int, list[tuple[float, float]]]]:
    """Yield (text, waveform, sample rate, word times in s) for each text Festival can say.

    Texts whose word count differs from Festival's own are left out: their times would be wrong.
    """
    for first in range(0, len(texts), chunk):
        with tempfile.TemporaryDirectory() as folder:
            yield from _say_chunk(texts[first : first + chunk], Path(folder))


def _say_chunk(
    texts: list[str], folder: Path
) -> Iterator[tuple[str, npt.NDArray[np.int16], int, list[tuple[float, float]]]]:
    calls = [
        f'(unwind-protect (say {json.dumps(text.lower(), ensure_ascii=False)} "{folder}/{i}.wav" '
        f'"{folder}/{i}.txt") nil)'
        for i, text in enumerate(texts)
    ]
    script = folder / "say.scm"
    script.write_text(_SCRIPT + "\n".join(calls), encoding="utf-8")
    subprocess.run(["festival", "--batch", str(script)], check=False, capture_output=True)
    for i, text in enumerate(texts):
        wave_path, times_path = folder / f"{i}.wav", folder / f"{i}.txt"
        if not wave_path.exists() or not times_path.exists():
            continue
        rows = [line.split() for line in times_path.read_text().splitlines()]
        times = [(float(row[1]), float(row[2])) for row in rows if len(row) == 3]
        if len(times) != len(text.split()):
            continue
        wave, rate = soundfile.read(wave_path, dtype="int16")
        yield text, wave, rate, times
