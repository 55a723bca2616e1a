"""A model server that is not ours: OpenAI's API as vLLM and its like speak it, over real HTTP.

It recognizes tones: each stretch of sound is a word, which its frequency says.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..local_server import LocalServer
from .model_server import Asked, Reply, ReplyHandler, parse

RATE = 16_000
WORDS = ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять")
OPENAI_FIELDS = {
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "stream",
}
_STEP = RATE // 50
_HEARD = 0.01  # root mean square of a step with sound


def recording(*words: str, pause_s: float = 1.0) -> NDArray[np.float32]:
    """Half a second for each word, with pauses before, between and behind them."""
    pause = np.zeros(round(pause_s * RATE), np.float32)
    time_s = np.arange(RATE // 2) / RATE
    parts = [pause]
    for word in words:
        frequency_hz = 300 + 200 * WORDS.index(word)
        parts += [(0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32), pause]
    return np.concatenate(parts)


def heard_words(wav: bytes) -> list[tuple[float, float, str]]:
    """Start and end in seconds, and the word, of every stretch of sound in a WAV file."""
    sound = np.frombuffer(wav[44:], "<i2").astype(np.float32) / 32768
    steps = sound[: len(sound) // _STEP * _STEP].reshape(-1, _STEP)
    loud = np.sqrt(np.mean(np.square(steps), axis=1)) > _HEARD
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]]))).reshape(-1, 2)
    found = []
    for first, last in edges:
        piece = sound[first * _STEP : last * _STEP]
        crossings = np.count_nonzero(np.diff(np.signbit(piece)))
        frequency_hz = crossings / 2 / (len(piece) / RATE)
        number = min(9, max(0, round((frequency_hz - 300) / 200)))
        found.append((first * _STEP / RATE, last * _STEP / RATE, WORDS[number]))
    return found


@dataclass
class Manners:
    """How the server behaves."""

    key: str = ""
    strict: bool = False  # refuses what OpenAI's API does not have
    times: bool = True  # the model gives times; without, verbose_json is refused
    ignores_format: bool = False  # answers json whatever was asked for
    lists_models: bool = True
    late_s: float = 0.0  # added to every time: behind the window's end
    first: deque[Reply] = field(default_factory=deque)  # what it does before it recognizes


class OtherServer(LocalServer):
    """Serves as long as it is open; `asked` has the paths and the forms."""

    model = "openai/whisper-small"

    def __init__(self, **manners: Any) -> None:
        self.manners = Manners(**manners)
        self.asked: list[tuple[str, Asked]] = []
        super().__init__(_handler(self))

    def get(self, path: str) -> Reply:
        """vLLM has /health and the list of models."""
        if path == "/v1/models" and self.manners.lists_models:
            row = {"id": self.model, "object": "model", "created": 1, "owned_by": "vllm"}
            return Reply(body={"object": "list", "data": [row]})
        return Reply(200, b"") if path == "/health" else _not_found()

    def post(self, path: str, asked: Asked) -> Reply:
        """A form with a window."""
        task = {"/v1/audio/transcriptions": "transcribe", "/v1/audio/translations": "translate"}
        if path not in task:
            return _not_found()
        self.asked.append((path, asked))
        if self.manners.first:
            return self.manners.first.popleft()
        return self._refusal(asked) or self._recognized(asked)

    def _refusal(self, asked: Asked) -> Reply | None:
        fields = asked.fields
        unknown = sorted(set(fields) - OPENAI_FIELDS)
        if self.manners.strict and unknown:
            return refused(f"Unrecognized request argument supplied: {', '.join(unknown)}")
        if fields.get("model") != [self.model]:
            return refused(f"The model `{fields.get('model')}` does not exist.", 404)
        if fields.get("language", ["ru"])[0] not in ("ru", "en"):
            return refused(f"Unsupported language: {fields['language'][0]!r}.")
        if not self.manners.times and fields["response_format"] == ["verbose_json"]:
            return refused(f"Currently do not support verbose_json for {self.model}")
        return None

    def _recognized(self, asked: Asked) -> Reply:
        found = heard_words(asked.wav)
        text = "".join(f" {word}" for *_, word in found)
        if asked.fields["response_format"] == ["json"] or self.manners.ignores_format:
            seconds = math.ceil(asked.n_samples / RATE)
            return Reply(body={"text": text, "usage": {"type": "duration", "seconds": seconds}})
        body = {
            "duration": str(asked.n_samples / RATE),
            "language": asked.fields.get("language", ["ru"])[0],
            "text": text,
            "segments": [
                _segment(i, *row, late_s=self.manners.late_s) for i, row in enumerate(found)
            ],
            "words": None,
        }
        return Reply(body=body)


def refused(message: str, status: int = 400) -> Reply:
    """An error as vLLM writes it: the code is a number."""
    kind = "NotFoundError" if status == 404 else "BadRequestError"
    error = {"message": message, "type": kind, "param": None, "code": status}
    return Reply(status, {"error": error})


def _not_found() -> Reply:
    return Reply(404, {"detail": "Not Found"})


def _segment(id: int, start: float, end: float, word: str, *, late_s: float) -> dict[str, Any]:
    return {
        "id": id,
        "avg_logprob": -0.2,
        "compression_ratio": 0.7,
        "start": round(start + late_s, 2),
        "end": round(end + late_s, 2),
        "no_speech_prob": None,
        "seek": 0,
        "temperature": 0.0,
        "text": f" {word}",
        "tokens": [1, 2],
    }


def _handler(server: OtherServer) -> type[ReplyHandler]:
    class OtherHandler(ReplyHandler):
        def do_GET(self) -> None:
            self.reply(self._locked() or server.get(self.path))

        def do_POST(self) -> None:
            asked = parse(self.headers["Content-Type"], self.body())
            self.reply(self._locked() or server.post(self.path, asked))

        def _locked(self) -> Reply | None:
            given = self.headers.get("Authorization")
            if not self.path.startswith("/v1") or not server.manners.key:
                return None
            if given == f"Bearer {server.manners.key}":
                return None
            return Reply(401, {"error": "Unauthorized"})

    return OtherHandler
