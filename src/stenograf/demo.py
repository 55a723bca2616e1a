"""`python -m stenograf.demo`: the whole line, from two recordings to text, on this machine alone.

Starts the model service with the embedded model and the backend as child processes, transcribes
the shipped recordings, prints the text with its times and the word error rate against the
reference. Exit code 0 only if all of that worked.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import requests

from stenograf.client import Client, JobFailed
from stenograf.contract.errors import StenografError
from stenograf.contract.options import CutOptions, TranscribeOptions
from stenograf.contract.transcript import Transcript
from stenograf.services import ServiceFailed, running
from stenograf.transcripts.clock import clock, milliseconds
from stenograf.transcripts.guard import bare

# The demo model was trained mostly on short stretches; a real model wants full windows.
_OPTIONS = TranscribeOptions(cut=CutOptions(chunk_size_s=8))


def main() -> NoReturn:
    """Run the demo and exit."""
    parser = argparse.ArgumentParser(prog="python -m stenograf.demo", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("data/models/whisper-demo-ru"))
    parser.add_argument("--samples", type=Path, default=Path("data/samples"))
    parsed = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        demonstrate(parsed.model, parsed.samples)
    except (JobFailed, StenografError, ServiceFailed, OSError, DemoFailed) as error:
        sys.exit(f"The demo failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


class DemoFailed(Exception):
    """Something the demo needs is missing, or a recording gave no text."""


def demonstrate(model: Path, samples: Path) -> None:
    """Transcribe every FLAC file of `samples` with the model in the folder `model`.

    Raises DemoFailed, ServiceFailed, JobFailed or what the backend says.
    """
    recordings = sorted(samples.glob("*.flac"))
    if not recordings:
        raise DemoFailed(f"there are no recordings (*.flac) in {samples}")
    if not (model / "config.json").is_file():
        raise DemoFailed(f"there is no model in {model}")
    began = time.monotonic()
    print(f"Starting the model service and the backend with {model} …", flush=True)
    with running({"LOCAL_LLM_MODEL": str(model.resolve()), "DEVICE": "cpu"}) as services:
        print(_described(services.llm.url), flush=True)
        ready_s = time.monotonic() - began
        client = Client(services.backend.url)
        jobs = [(path, client.submit(path, _OPTIONS).id) for path in recordings]
        sound_s = sum(_show(client, path, job_id) for path, job_id in jobs)
    total_s = time.monotonic() - began
    print(
        f"{sound_s:.0f} s of sound took {total_s - ready_s:.1f} s, "
        f"starting the services {ready_s:.1f} s."
    )


def _described(llm_url: str) -> str:
    model = requests.get(f"{llm_url}/v1/models", timeout=5).json()["data"][0]
    kind = (
        "the small embedded DEMO model: it knows a few hundred Russian words, no more.\n"
        "For real work set LOCAL_LLM_MODEL, see README."
        if model.get("embedded")
        else "not the embedded demo model"
    )
    return f"Model: {model['id']}, {kind}"


def _show(client: Client, path: Path, job_id: str) -> float:
    """Print one transcript as soon as it is there; gives the length of its sound in seconds."""
    client.wait(job_id)
    transcript = Transcript.model_validate_json(client.transcript(job_id, "json"))
    print(f"\n{path.name}, {transcript.duration_s:.1f} s")
    for segment in transcript.segments:
        start, end = (clock(milliseconds(at))[3:] for at in (segment.start, segment.end))
        print(f"  [{start} - {end}] {segment.text}")
    if not transcript.text:
        raise DemoFailed(f"no text was recognized in {path.name}")
    reference = path.with_suffix(".txt")
    if reference.is_file():
        print(f"  {_score(reference.read_text(encoding='utf-8'), transcript.text)}", flush=True)
    return transcript.duration_s


def _score(reference: str, text: str) -> str:
    expected, heard = bare(reference).split(), bare(text).split()
    errors = edit_distance(expected, heard)
    rate = errors / max(1, len(expected))
    return f"word error rate {rate:.1%} ({errors} of {len(expected)} words)"


def edit_distance(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(heard) + 1))
    for count, wanted in enumerate(expected, start=1):
        diagonal, row[0] = row[0], count
        for index, got in enumerate(heard, start=1):
            best = min(diagonal + (wanted != got), row[index] + 1, row[index - 1] + 1)
            diagonal, row[index] = row[index], best
    return row[-1]


if __name__ == "__main__":
    main()
