"""The transport of the project's first version, reproduced from its wire format.

Three processes: a front that reads the file and posts lists of numbers, a backend that joins,
resamples, normalizes and cuts them every 30 seconds and posts lists of numbers again, a model
service that turns the list into an array. `python -m bench.seed.reproduction ROLE …`.
"""

import argparse
from pathlib import Path

import librosa
import numpy as np
import pyloudnorm
import requests
import soundfile
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import BaseModel

from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import EngineOptions
from stenograf.llm.engines.fake import FakeEngine

CUT_S = 30


class Input(BaseModel):
    """Body of `POST /get_answer/`."""

    user_id: str
    chunk: list[float]
    sending: bool = False
    target_dB: float = -10
    norm_algo: str = "rms"
    model_sr: int = 16_000
    chunk_size_sec: int = CUT_S
    target_peak: float = 0.95
    original_sr: int = 16_000


class Piece(BaseModel):
    """Body of `POST /inference/`."""

    chunk: list[float]


class Answer(BaseModel):
    """Body of both answers."""

    response: str
    status: int = 200


def model_app() -> FastAPI:
    """The model service with the engine that needs no weights."""
    app = FastAPI()
    engine = FakeEngine()
    options = EngineOptions(decode=DecodeOptions())

    @app.get("/ready")
    async def ready() -> Answer:
        return Answer(response="")

    @app.post("/inference/")
    async def inference(piece: Piece) -> Answer:
        waveform = np.array(piece.chunk, dtype=np.float32)
        result = engine.transcribe([waveform], options)[0]
        return Answer(response=" ".join(segment.text for segment in result.segments))

    return app


def backend_app(model_url: str) -> FastAPI:
    """The backend: chunks are kept by user, the last request does all the work."""
    app = FastAPI()
    kept: dict[str, list[list[float]]] = {}

    @app.get("/ready")
    async def ready() -> Answer:
        return Answer(response="")

    @app.post("/get_answer/")
    async def get_answer(body: Input) -> Answer:
        if body.sending:
            kept.setdefault(body.user_id, []).append(body.chunk)
            return Answer(response="")
        joined = np.concatenate([np.array(chunk) for chunk in kept.pop(body.user_id)])
        waveform = processed(joined, body)
        step = body.chunk_size_sec * body.model_sr
        texts = [
            requests.post(
                f"{model_url}/inference/", json={"chunk": waveform[at : at + step].tolist()}
            ).json()["response"]
            for at in range(0, len(waveform), step)
        ]
        return Answer(response="".join(texts))

    return app


def processed(joined: NDArray[np.float64], body: Input) -> NDArray[np.float64]:
    """Its sound processing: the whole recording at once."""
    waveform = librosa.resample(joined, orig_sr=body.original_sr, target_sr=body.model_sr)
    return _normalized(waveform, body)


def _normalized(waveform: NDArray[np.float64], body: Input) -> NDArray[np.float64]:
    if body.norm_algo == "rms":
        level_db = 20 * np.log10(np.sqrt(np.mean(waveform**2)))
        return np.asarray(waveform * 10 ** ((body.target_dB - level_db) / 20))
    if body.norm_algo == "lufs":
        loudness = pyloudnorm.Meter(body.model_sr).integrated_loudness(waveform)
        return np.asarray(pyloudnorm.normalize.loudness(waveform, loudness, body.target_dB))
    return waveform


def read(path: Path) -> tuple[NDArray[np.float32], int]:
    """A WAV file whole, as mono, with its rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def front(backend_url: str, path: Path) -> str:
    """Read a WAV file whole and send it, 30 seconds of numbers at a time."""
    mono, rate = read(path)
    url = f"{backend_url}/get_answer/"
    fixed = {"user_id": "bench", "original_sr": rate, "norm_algo": "rms", "target_dB": -20}
    step = CUT_S * rate
    for at in range(0, len(mono), step):
        chunk = mono[at : at + step].tolist()
        requests.post(url, json={**fixed, "chunk": chunk, "sending": True}).raise_for_status()
    answer = requests.post(url, json={**fixed, "chunk": [], "sending": False})
    answer.raise_for_status()
    return str(answer.json()["response"])


def main() -> None:
    """Run one of the two services until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["backend", "model"])
    parser.add_argument("port", type=int)
    parser.add_argument("--model-url", default="")
    parsed = parser.parse_args()
    app = model_app() if parsed.role == "model" else backend_app(parsed.model_url)
    uvicorn.run(app, host="127.0.0.1", port=parsed.port, log_level="warning")


if __name__ == "__main__":
    main()
