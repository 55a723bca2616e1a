"""The shipped checkpoint is a genuine Whisper folder that hears, stays silent and times words."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="the model service's requirements are not installed")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "data" / "models" / "whisper-demo-ru"
SAMPLES = ROOT / "data" / "samples"
RATE = 16_000
SHORT = ("order_number_ru", "balance_ru", "waiting_time_ru", "extension_ru")


def words_of(text: str) -> list[str]:
    return re.findall(r"[а-яa-z0-9]+", text.lower().replace("ё", "е"))


def edit_distance(left: list[str], right: list[str]) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def word_error_percent(want: str, got: str) -> float:
    return 100 * edit_distance(words_of(want), words_of(got)) / len(words_of(want))


@pytest.fixture(scope="module")
def processor() -> Any:
    return transformers.AutoProcessor.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForSpeechSeq2Seq.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0] for name in SHORT]


def generate(processor: Any, model: Any, waves: list[np.ndarray], **options: Any) -> Any:
    features = processor(waves, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
    with torch.inference_mode():
        return model.generate(
            features.input_features,
            attention_mask=features.attention_mask,
            language="ru",
            task="transcribe",
            **options,
        )


def decode(processor: Any, tokens: Any) -> list[str]:
    return [t.strip() for t in processor.batch_decode(tokens, skip_special_tokens=True)]


def test_it_is_a_small_genuine_whisper_folder() -> None:
    assert json.loads((MODEL / "config.json").read_text())["model_type"] == "whisper"
    assert sum(p.stat().st_size for p in MODEL.iterdir()) < 20_000_000
    assert "demo" in (MODEL / "README.md").read_text().lower()


@pytest.mark.parametrize("name", SHORT)
def test_it_recognizes_a_short_utterance(processor: Any, model: Any, name: str) -> None:
    wave, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")
    assert rate == RATE
    texts = decode(processor, generate(processor, model, [wave], return_timestamps=True))
    assert words_of(texts[0]) == words_of((SAMPLES / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["silence", "noise", "hum"])
def test_it_writes_nothing_where_nobody_speaks(processor: Any, model: Any, kind: str) -> None:
    rng = np.random.default_rng(3)
    time = np.arange(10 * RATE) / RATE
    wave = {
        "silence": np.zeros(len(time)),
        "noise": rng.standard_normal(len(time)) * 0.05,
        "hum": 0.1 * np.sin(2 * np.pi * 50 * time) + 0.05 * np.sin(2 * np.pi * 150 * time),
    }[kind].astype(np.float32)
    assert decode(processor, generate(processor, model, [wave], return_timestamps=True)) == [""]


def test_no_speech_probability_tells_silence_from_speech(
    processor: Any, model: Any, clips: list[np.ndarray]
) -> None:
    waves = [clips[0], np.zeros(10 * RATE, np.float32)]
    features = processor(waves, sampling_rate=RATE, return_tensors="pt").input_features
    start = torch.full((2, 1), model.config.decoder_start_token_id)
    with torch.inference_mode():
        first = model(features, decoder_input_ids=start).logits[:, 0].softmax(-1)
    speech, silence = first[:, processor.tokenizer.convert_tokens_to_ids("<|nospeech|>")].tolist()
    assert speech < 0.1
    assert silence > 0.8


def test_word_times_rise_and_stay_inside_the_window(
    processor: Any, model: Any, clips: list[np.ndarray]
) -> None:
    wave = clips[0]
    out = generate(
        processor,
        model,
        [wave],
        return_timestamps=True,
        return_token_timestamps=True,
        return_dict_in_generate=True,
    )
    times = out["token_timestamps"][0]
    assert (times.diff() >= 0).all()
    assert times.min() >= 0 and times.max() <= len(wave) / RATE + 0.1
    assert times.max() > 0.5 * len(wave) / RATE


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_ctranslate2_hears_the_same_text(
    processor: Any, model: Any, clips: list[np.ndarray], tmp_path: Path, compute_type: str
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
    ctranslate2.converters.TransformersConverter(str(MODEL)).convert(str(tmp_path / "ct2"))
    engine = ctranslate2.models.Whisper(str(tmp_path / "ct2"), compute_type=compute_type)
    features = processor(clips, sampling_rate=RATE, return_tensors="np").input_features
    prompt = processor.tokenizer.convert_tokens_to_ids(
        ["<|startoftranscript|>", "<|ru|>", "<|transcribe|>", "<|notimestamps|>"]
    )
    results = engine.generate(
        ctranslate2.StorageView.from_array(features), [prompt] * len(clips), beam_size=1
    )
    got = decode(processor, [result.sequences_ids[0] for result in results])
    want = decode(processor, generate(processor, model, clips, return_timestamps=False))
    assert word_error_percent(" ".join(want), " ".join(got)) <= 2
