"""The test sets through the whole product: backend, cutter, model service, each of its engines."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import requests
import soundfile

from stenograf.services import running
from training.augment import SAMPLE_RATE, Wave

ENGINES = ("transformers", "ctranslate2", "native")
_AT_ONCE = 4
_ANSWER_S = 300.0


def hear_by_engine(folder: Path, sets: Mapping[str, list[Wave]]) -> dict[str, dict[str, list[str]]]:
    """Return the text of every recording of every set, by engine; the settings are the defaults.

    Raises what the services raise where an engine is not installed.
    """
    heard: dict[str, dict[str, list[str]]] = {}
    for engine in ENGINES:
        settings = {"ENGINE": engine, "LOCAL_LLM_MODEL": str(folder.resolve()), "DEVICE": "cpu"}
        with running(settings, timeout_s=300) as services, ThreadPoolExecutor(_AT_ONCE) as pool:
            hear = partial(_hear, services.backend.url)
            heard[engine] = {name: list(pool.map(hear, waves)) for name, waves in sets.items()}
    return heard


def _hear(url: str, wave: Wave) -> str:
    with io.BytesIO() as file:
        soundfile.write(file, wave, SAMPLE_RATE, subtype="FLOAT", format="WAV")
        answer = requests.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": ("window.wav", file.getvalue(), "audio/wav")},
            data={"model": "whisper-1", "language": "ru", "response_format": "json"},
            timeout=_ANSWER_S,
        )
    answer.raise_for_status()
    return str(answer.json()["text"])
