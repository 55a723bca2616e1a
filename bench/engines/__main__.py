"""`python -m bench.engines`: our engines and the peers, same weights, same sound, same run.

Every measurement is a fresh process that loads, warms up with one window and reads all windows;
rounds go through all engines in turn (A B A B), so that a machine that slows down slows all.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.common import EMBEDDED, MODELS, ROOT, SAMPLES
from bench.engines import formats, report
from bench.engines.checkpoints import SHAPES, checkpoint
from bench.engines.floor import Rates, floor_s
from stenograf.llm.sound import cut

PEERS_PYTHON = ROOT / "build" / "bench_peers" / "bin" / "python"
WINDOW = 480_000
EMBEDDED_WINDOW = WINDOW // 2  # what the demo model was trained on
TIMEOUT_S = 1800

OURS = ("native", "ctranslate2", "transformers")
PEERS = ("faster-whisper", "faster-whisper batched", "faster-whisper workers",
         "transformers pipeline", "whisper.cpp", "openai-whisper")  # fmt: skip
HYBRID = "torch int8 + ctranslate2"


@dataclass(frozen=True)
class Run:
    """One process's figures; `error` where it gave none."""

    engine: str
    seconds: float = 0.0
    load_s: float = 0.0
    peak_rss_bytes: int = 0
    texts: tuple[str, ...] = ()
    error: str = ""


def main() -> None:
    """Measure and report."""
    parsed = _arguments()
    if parsed.install_peers:
        _install_peers()
        return
    MODELS.mkdir(parents=True, exist_ok=True)
    with (MODELS / ".lock").open("w") as lock:  # two at once would measure each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        if parsed.device:
            _levers(parsed)
        else:
            _compare(parsed)


def _levers(parsed: argparse.Namespace) -> None:
    from bench.engines import device  # heavy, and the comparison loads it in processes of its own

    device.compare(
        parsed.device, parsed.shapes, parsed.batches, parsed.tokens, parsed.rounds, MODELS
    )


def _compare(parsed: argparse.Namespace) -> None:
    folder = _folder(parsed.checkpoint, parsed.tokens)
    sounds, reference = _sounds(parsed, MODELS / "sounds")
    task = {
        "folder": str(folder),
        "sounds": sounds,
        "threads": parsed.threads,
        "batch": parsed.batch,
        "words": parsed.words,
        "data_dir": str(MODELS / "data"),
    }
    _prepare(task, folder, parsed.engines)
    rates = Rates(**_child(sys.executable, "bench.engines.floor", str(parsed.threads)))
    runs: list[Run] = []
    for number in range(parsed.rounds):
        for engine in parsed.engines:
            runs.append(_run(engine, task))
            print(f"round {number + 1}  {report.line(runs[-1])}", flush=True)
    floor = None
    if parsed.checkpoint in SHAPES:
        shape = SHAPES[parsed.checkpoint]
        floor = floor_s(shape, len(sounds), parsed.tokens, parsed.batch, rates)
    title = f"{parsed.checkpoint}, {len(sounds)} windows"
    if floor is not None:
        title += f" of 30 s, {parsed.tokens} tokens each"
    table = report.Table(title, runs, floor, reference, parsed.threads)
    print("\n" + table.markdown())
    if parsed.markdown:
        parsed.markdown.write_text(table.markdown() + "\n", encoding="utf-8")
    if parsed.plot:
        parsed.plot.write_text(table.svg(), encoding="utf-8")
    if parsed.json:
        body = {"rates": asdict(rates), "floor_s": floor, "runs": [asdict(run) for run in runs]}
        parsed.json.write_text(json.dumps(body, ensure_ascii=False, indent=1), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--checkpoint", choices=["embedded", *SHAPES], default="tiny")
    parser.add_argument("--windows", type=int, default=8, help="of 30 s (random weights only)")
    parser.add_argument("--tokens", type=int, default=50, help="text tokens that each window says")
    parser.add_argument("--recording", type=Path, help="sound for the windows; default: a sample")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=8, help="windows in one batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", action="store_true", help="word times too (our engines)")
    parser.add_argument(
        "--engines", nargs="+", choices=[*OURS, HYBRID, *PEERS], default=[*OURS, *PEERS]
    )
    parser.add_argument(
        "--device", help="cpu, cuda or cuda:N: our transformers engine there, lever by lever"
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["medium", "large-v3"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--install-peers", action="store_true", help="make their environment")
    for name in ("markdown", "plot", "json"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help="write the result there")
    return parser.parse_args()


def _install_peers() -> None:
    home = PEERS_PYTHON.parents[1]
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    wanted = str(ROOT / "bench" / "requirements.txt")
    subprocess.run([str(PEERS_PYTHON), "-m", "pip", "install", "-q", "-r", wanted], check=True)


def _folder(name: str, tokens: int) -> Path:
    return EMBEDDED if name == "embedded" else checkpoint(name, tokens, MODELS)


def _sounds(parsed: argparse.Namespace, folder: Path) -> tuple[list[str], str]:
    """Files of windows, float32 at 16 kHz, and what is said in them (only with real weights)."""
    folder.mkdir(parents=True, exist_ok=True)
    windows, reference = [], ""
    if parsed.checkpoint == "embedded":
        for path in sorted(SAMPLES.glob("*_ru.flac")):
            sound, _ = soundfile.read(path, dtype="float32", always_2d=True)
            if sound.shape[1] == 1:
                mono = np.ascontiguousarray(sound[:, 0])
                windows += [window for _, window in cut(mono, EMBEDDED_WINDOW)]
                reference += " " + path.with_suffix(".txt").read_text(encoding="utf-8")
    else:
        source = parsed.recording or SAMPLES / "monologue_ru.flac"
        sound, rate = soundfile.read(source, dtype="float32", always_2d=True)
        if rate != 16_000:
            raise SystemExit("give a recording at 16 kHz")
        mono = np.resize(sound.mean(axis=1), parsed.windows * WINDOW)
        windows = list(mono.reshape(parsed.windows, WINDOW))
    names = []
    for i, window in enumerate(windows):
        names.append(str(folder / f"{parsed.checkpoint}-{i}.npy"))
        np.save(names[-1], np.ascontiguousarray(window, dtype=np.float32))
    return names, reference


def _prepare(task: dict[str, Any], folder: Path, engines: Sequence[str]) -> None:
    """Formats that the chosen engines need."""
    random = folder != EMBEDDED
    if HYBRID in engines or any(engine.startswith("faster") for engine in engines):
        beside = folder if random else MODELS / folder.name
        if not random and not beside.exists():
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.symlink_to(folder)
        task["ct2"] = str(formats.ct2_folder(beside))
    if "openai-whisper" in engines and random:
        task["openai"] = str(formats.openai_file(folder))
    if "whisper.cpp" in engines and random:
        task["ggml"] = str(formats.ggml_file(folder))


def _run(engine: str, task: dict[str, Any]) -> Run:
    python, module = sys.executable, "bench.engines.ours"
    if engine in PEERS:
        python, module = str(PEERS_PYTHON), "bench.engines.peers"
    elif engine == HYBRID:
        module = "bench.engines.hybrid"
    try:
        told = _child(python, module, json.dumps(task | {"engine": engine}))
    except (subprocess.SubprocessError, OSError, ValueError) as exc:
        said = (getattr(exc, "stderr", None) or str(exc)).strip().splitlines()
        return Run(engine, error=said[-1] if said else type(exc).__name__)
    return Run(engine, **(told | {"texts": tuple(told["texts"])}))


def _child(python: str, module: str, argument: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-m", module, argument],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


if __name__ == "__main__":
    main()
