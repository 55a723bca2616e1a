"""The same weights in OpenAI's own implementation give the same tokens, figures and times."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench.engines.formats import dims, openai_name
from tests.llm.engine_settings import engine_settings

from stenograf.contract.options import DecodeOptions, GuardOptions
from stenograf.contract.pcm import MAX_WINDOW_SAMPLES, Waveform
from stenograf.llm.engines.base import EngineOptions, never
from stenograf.llm.engines.hf_whisper import HfWhisper, load_hf_whisper
from stenograf.llm.whisper.alignment_heads import alignment_heads
from stenograf.llm.whisper.decoder import listen
from stenograf.llm.whisper.reader import Reader
from stenograf.llm.whisper.words import token_borders

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",  # it leaves its vocabulary file open
)
whisper = pytest.importorskip("whisper")


@dataclass
class Pair:
    ours: HfWhisper
    theirs: Any


@pytest.fixture(scope="module")
def pair(old_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = old_checkpoint(confident=True)
    data = tmp_path_factory.mktemp("data")
    settings = engine_settings("transformers", folder, data, dtype="float32")
    ours = load_hf_whisper(settings, lambda *_: None)
    config = json.loads((folder / "config.json").read_text())
    theirs = whisper.model.Whisper(whisper.model.ModelDimensions(**dims(config))).eval()
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tensors.pop("proj_out.weight")  # is the token embedding, there
    theirs.load_state_dict({openai_name(name): tensor for name, tensor in tensors.items()})
    theirs.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny"])
    return Pair(ours, theirs)


def noise(seed: int) -> Waveform:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(MAX_WINDOW_SAMPLES) / 9000 * (seed + 1)))
    return (rng.normal(0, 0.1, MAX_WINDOW_SAMPLES) * swell).astype(np.float32)


def read(pair: Pair, waveform: Waveform, **decode: Any) -> Any:
    guard = GuardOptions(logprob_threshold=-1000, compression_ratio_threshold=1000)
    options = EngineOptions(decode=DecodeOptions(**decode), guard=guard)
    return pair.ours.transcribe([waveform], options)[0]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("beam_size", [1, 3])
def test_tokens_and_figures(pair: Pair, seed: int, beam_size: int) -> None:
    waveform = noise(seed)
    options = whisper.DecodingOptions(
        language="ru",
        fp16=False,
        suppress_tokens="",
        beam_size=beam_size if beam_size > 1 else None,
        sample_len=200,
    )
    theirs = whisper.decode(pair.theirs, whisper.log_mel_spectrogram(waveform), options)
    ours = read(pair, waveform, beam_size=beam_size)
    text = [token for token in theirs.tokens if token < 50_257]
    assert text
    assert [token for segment in ours.segments for token in segment.tokens] == text
    stamps = [token - 50_364 for token in theirs.tokens if token >= 50_364]
    assert [edge for s in ours.segments for edge in (s.start // 320, s.end // 320)][
        : len(stamps)
    ] == stamps[: 2 * len(ours.segments)]
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, rel=1e-3)


def test_word_borders(pair: Pair) -> None:
    from whisper.timing import find_alignment
    from whisper.tokenizer import get_tokenizer

    waveform, text = noise(1), [5000, 12_000, 20_000, 30_000, 45_000, 7000]
    tokenizer = get_tokenizer(True, language="ru", task="transcribe")
    mel = whisper.log_mel_spectrogram(waveform)
    theirs = find_alignment(pair.theirs, tokenizer, text, mel, MAX_WINDOW_SAMPLES // 160)
    prefix = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    with torch.inference_mode():
        sound = listen(pair.ours._model, mel.unsqueeze(0))
        attention = sound.attention(
            0, [*prefix, *text, tokenizer.eot], alignment_heads(4, 6, 51_865), 1500
        )
    borders = token_borders(attention, len(prefix))
    at = 0
    for word in theirs:
        behind = at + len(word.tokens)
        assert (borders[at] * 0.02, borders[behind] * 0.02) == pytest.approx(
            (word.start, word.end), abs=1e-6
        )
        at = behind
    assert at == len(text)


def test_language(pair: Pair) -> None:
    mel = whisper.log_mel_spectrogram(noise(1))
    _, chances = pair.theirs.detect_language(mel)
    with torch.inference_mode():
        sound = listen(pair.ours._model, mel.unsqueeze(0))
        reader = Reader(
            sound,
            pair.ours._vocabulary,
            alignment_heads(4, 6, 51_865),
            DecodeOptions(language="auto"),
            448,
            [MAX_WINDOW_SAMPLES],
            never,
        )
    assert reader.languages == [max(chances, key=chances.get)]
    assert reader.language_probabilities == [pytest.approx(max(chances.values()), rel=1e-3)]
