"""One engine of ours in a process of its own: `python -m bench.engines.ours TASK`."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.engines.gauge import finish
from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.engines.factory import EngineSettings, engine_factory


def main() -> None:
    """Load, warm up with one window, read all of them and print the figures as JSON."""
    task = json.loads(sys.argv[1])
    sounds = [np.load(path) for path in task["sounds"]]
    settings = EngineSettings(
        engine=task["engine"],
        model=task["folder"],
        dtype="auto",
        device="cpu",
        threads=task["threads"],
        data_dir=Path(task["data_dir"]),
        hf_home=Path(task["data_dir"]) / "hf",
        compute_type=task.get("compute_type", "auto"),
    )
    began = time.perf_counter()
    engine = engine_factory(settings)(lambda *_: None)
    load_s = time.perf_counter() - began
    decode = DecodeOptions(language="ru", word_timestamps=task["words"])
    options = EngineOptions(decode=decode)
    engine.transcribe(sounds[:1], options)
    began = time.perf_counter()
    results = []
    for first in range(0, len(sounds), task["batch"]):
        results += engine.transcribe(sounds[first : first + task["batch"]], options)
    seconds = time.perf_counter() - began
    texts = ["".join(segment.text for segment in result.segments) for result in results]
    finish(load_s, seconds, texts)


if __name__ == "__main__":
    main()
