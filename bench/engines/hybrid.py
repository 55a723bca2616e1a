"""PyTorch's dynamic int8 encoder with CTranslate2's decoder: what libraries alone can reach.

`python -m bench.engines.hybrid TASK` reads windows like our engines do, one after the other.
"""

import json
import sys
import time
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

from bench.engines.gauge import finish
from stenograf.llm.whisper.ct2_folder import open_ct2_folder
from stenograf.llm.whisper.features import LogMel


def main() -> None:
    """Load, warm up with one window, read all of them and print the figures as JSON."""
    task = json.loads(sys.argv[1])
    sounds = [np.load(path) for path in task["sounds"]]
    torch.set_num_threads(task["threads"])
    began = time.perf_counter()
    whole = WhisperForConditionalGeneration.from_pretrained(task["folder"], dtype=torch.float32)
    encoder = torch.ao.quantization.quantize_dynamic(
        whole.model.encoder, {torch.nn.Linear}, dtype=torch.qint8
    ).eval()
    del whole
    decoder = ctranslate2.models.Whisper(
        task["ct2"], compute_type="int8", intra_threads=task["threads"]
    )
    vocabulary = open_ct2_folder(Path(task["ct2"])).vocabulary
    features = LogMel(80, 3000)
    prefix = vocabulary.prefix("ru", "transcribe", timestamps=True)
    load_s = time.perf_counter() - began

    def read(window: np.ndarray) -> str:  # type: ignore[type-arg]
        with torch.inference_mode():
            states = encoder(torch.from_numpy(features([window]))).last_hidden_state.numpy()
        memory = ctranslate2.StorageView.from_array(np.ascontiguousarray(states))
        (found,) = decoder.generate(memory, [prefix], beam_size=1)
        return vocabulary.text(found.sequences_ids[0])

    read(sounds[0])
    began = time.perf_counter()
    texts = [read(sound) for sound in sounds]
    finish(load_s, time.perf_counter() - began, texts)


if __name__ == "__main__":
    main()
