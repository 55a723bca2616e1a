"""One peer in a process of its own and in the peers' environment: `-m bench.engines.peers TASK`.

Each is set up as its documentation tells for this CPU, with fallback, voice detection and earlier
text as a prompt switched off, so that all read every window once.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from bench.engines.gauge import finish

Task = dict[str, Any]
Sounds = list[Any]
Read = Callable[[Sounds], list[str]]

_PLAIN = {
    "language": "ru",
    "beam_size": 1,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "vad_filter": False,
}


def faster_whisper(task: Task) -> Read:
    """Window after window."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        task["ct2"], device="cpu", compute_type="int8", cpu_threads=task["threads"]
    )

    def read(sounds: Sounds) -> list[str]:
        segments, _ = model.transcribe(np.concatenate(sounds), **_PLAIN)
        return ["".join(segment.text for segment in segments)]

    return read


def faster_whisper_batched(task: Task) -> Read:
    """Its batched pipeline."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        task["ct2"], device="cpu", compute_type="int8", cpu_threads=task["threads"]
    )
    pipeline = BatchedInferencePipeline(model)

    def read(sounds: Sounds) -> list[str]:
        edges = np.cumsum([0, *(len(sound) / 16_000 for sound in sounds)])
        clips = [{"start": float(a), "end": float(b)} for a, b in pairwise(edges)]
        segments, _ = pipeline.transcribe(
            np.concatenate(sounds), batch_size=task["batch"], clip_timestamps=clips, **_PLAIN
        )
        return [segment.text for segment in segments]

    return read


def faster_whisper_workers(task: Task) -> Read:
    """As many workers of one thread as there are threads, each with its part of the sound."""
    from faster_whisper import WhisperModel

    workers = task["threads"]
    model = WhisperModel(
        task["ct2"], device="cpu", compute_type="int8", cpu_threads=1, num_workers=workers
    )

    def one(sounds: Sounds) -> str:
        segments, _ = model.transcribe(np.concatenate(sounds), **_PLAIN)
        return "".join(segment.text for segment in segments)

    def read(sounds: Sounds) -> list[str]:
        parts = [sounds[i::workers] for i in range(workers) if sounds[i::workers]]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, parts))

    return read


def transformers_pipeline(task: Task) -> Read:
    """transformers' own pipeline, batched."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(task["threads"])
    recognize = pipeline("automatic-speech-recognition", model=task["folder"], dtype=torch.float32)

    def read(sounds: Sounds) -> list[str]:
        found = recognize(
            [{"raw": sound, "sampling_rate": 16_000} for sound in sounds],
            batch_size=task["batch"],
            generate_kwargs={"language": "ru", "task": "transcribe", "num_beams": 1},
        )
        return [each["text"] for each in found]

    return read


def openai_whisper(task: Task) -> Read:
    """The original."""
    import torch
    import whisper

    torch.set_num_threads(task["threads"])
    model = whisper.load_model(task["openai"], device="cpu")
    options = whisper.DecodingOptions(
        language="ru", fp16=False, temperature=0.0, without_timestamps=True
    )

    def read(sounds: Sounds) -> list[str]:
        found = []
        for sound in sounds:
            mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(sound))
            found.append(whisper.decode(model, mel, options).text)
        return found

    return read


def whisper_cpp(task: Task) -> Read:
    """whisper.cpp through pywhispercpp, weights in q8_0."""
    from pywhispercpp.model import Model

    model = Model(
        task["ggml"],
        n_threads=task["threads"],
        language="ru",
        no_context=True,
        temperature_inc=0.0,
        print_progress=False,
        print_realtime=False,
        greedy={"best_of": 1},
    )

    def read(sounds: Sounds) -> list[str]:
        return ["".join(part.text for part in model.transcribe(sound)) for sound in sounds]

    return read


PEERS: dict[str, Callable[[Task], Read]] = {
    "faster-whisper": faster_whisper,
    "faster-whisper batched": faster_whisper_batched,
    "faster-whisper workers": faster_whisper_workers,
    "transformers pipeline": transformers_pipeline,
    "openai-whisper": openai_whisper,
    "whisper.cpp": whisper_cpp,
}


def main() -> None:
    """Load, warm up with one window, read all of them and print the figures as JSON."""
    task = json.loads(sys.argv[1])
    sounds = [np.load(path) for path in task["sounds"]]
    began = time.perf_counter()
    read = PEERS[task["engine"]](task)
    load_s = time.perf_counter() - began
    read(sounds[:1])
    began = time.perf_counter()
    texts = read(sounds)
    finish(load_s, time.perf_counter() - began, texts)


if __name__ == "__main__":
    main()
