"""What several benchmarks use: where things are, and jobs that leave nothing behind."""

from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "build" / "bench_models"
EMBEDDED = ROOT / "data" / "models" / "whisper-demo-ru"
SAMPLES = ROOT / "data" / "samples"
SPEECH = SAMPLES / "monologue_ru.flac"


def purge(url: str, job_id: str) -> None:
    """Remove a job and its recording, so that the next of the same begins anew."""
    answer = requests.delete(f"{url}/v1/jobs/{job_id}", params={"purge": "true"}, timeout=60)
    answer.raise_for_status()
