"""Where somebody speaks."""

import importlib.util
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stenograf.audio.spans import FRAME_SAMPLES, Span, spans_from
from stenograf.audio.vad import VoiceDetector
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

from .sounds import babble, tone

OPTIONS = CutOptions()


@pytest.fixture(scope="module")
def detector() -> VoiceDetector:
    return VoiceDetector()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Waveform:
    """About three seconds of synthetic Russian speech without silence around it."""
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: there is no speech to detect")
    path = Path(tmp_path_factory.mktemp("speech")) / "speech.wav"
    text = "Добрый день, начинаем наше совещание по новому проекту."
    subprocess.run(["espeak-ng", "-v", "ru", "-s", "150", "-w", str(path), text], check=True)
    samples, rate = soundfile.read(path)
    waveform = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    return waveform[loud[0] : loud[-1]]


def _silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def test_speech_between_silences_is_found(detector: VoiceDetector, speech: Waveform) -> None:
    parts = [_silence(2), speech, _silence(3), speech, _silence(1.5)]
    borders = np.cumsum([0, *map(len, parts)])
    spans = detector.spans([np.concatenate(parts)], OPTIONS)
    assert len(spans) == 2
    for span, start, end in zip(spans, borders[[1, 3]], borders[[2, 4]], strict=True):
        assert start - 0.4 * SAMPLE_RATE < span.start <= start + 0.05 * SAMPLE_RATE
        assert end - 0.1 * SAMPLE_RATE <= span.end < end + 0.6 * SAMPLE_RATE


def test_quiet_speech_is_found_with_its_gain(detector: VoiceDetector, speech: Waveform) -> None:
    file = np.concatenate([_silence(1), speech * np.float32(1e-3), _silence(1)])
    found = detector.spans([file], OPTIONS, gain=1000)
    assert len(found) == 1
    assert found[0].end - found[0].start > 0.8 * len(speech)


@pytest.mark.parametrize(
    "waveform",
    [
        _silence(10), _silence(0), _silence(0.01), np.full(80_000, 0.3, np.float32),
        np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32),
        tone(10).astype(np.float32), tone(10, hertz=50).astype(np.float32),
    ],
    ids=["silence", "nothing", "10 ms", "offset", "noise", "sine", "hum"],
)  # fmt: skip
def test_no_speech_in_what_is_none(detector: VoiceDetector, waveform: Waveform) -> None:
    assert detector.spans([waveform], OPTIONS) == []


@settings(max_examples=10)
@given(cuts=st.lists(st.floats(0, 1), max_size=12), seed=st.integers(0, 5))
def test_blocks_do_not_show_in_the_probabilities(cuts: list[float], seed: int) -> None:
    detector = VoiceDetector()
    waveform = babble(21.3, seed=seed).astype(np.float32)
    blocks = np.split(waveform, sorted(int(cut * len(waveform)) for cut in cuts))
    whole = np.concatenate(list(detector.probabilities([waveform])))
    assert np.array_equal(np.concatenate(list(detector.probabilities(blocks))), whole)
    assert len(whole) == -(-len(waveform) // FRAME_SAMPLES)


def _published() -> Path:
    """The network as its authors published it, which faster-whisper carries."""
    found = importlib.util.find_spec("faster_whisper")
    if found is None or found.origin is None:
        pytest.skip("faster-whisper is not installed: there is nothing to compare with")
    return Path(found.origin).parent / "assets" / "silero_vad_v6.onnx"


def _published_probabilities(waveform: Waveform) -> NDArray[np.float32]:
    """Of the published network, the whole recording in one run."""
    session = onnxruntime.InferenceSession(str(_published()), providers=["CPUExecutionProvider"])
    fill = -len(waveform) % FRAME_SAMPLES
    frames = np.pad(waveform, (0, fill)).reshape(-1, FRAME_SAMPLES)
    contexts = np.pad(frames[:-1, -64:], ((1, 0), (0, 0)))
    state = np.zeros((1, 1, 128), np.float32)
    inputs = {"input": np.hstack([contexts, frames]), "h": state, "c": state}
    probabilities: NDArray[np.float32] = session.run(None, inputs)[0]
    return probabilities.reshape(-1)


def _sounds(speech: Waveform) -> dict[str, Waveform]:
    noise = np.random.default_rng(3).normal(0, 0.2, 5 * SAMPLE_RATE).astype(np.float32)
    return {
        "silence": _silence(20),
        "noise": noise,
        "voice of odd length": babble(9.137).astype(np.float32),
        "less than a frame": speech[20_000:20_300],
        "speech": np.concatenate([_silence(1), speech, _silence(1), speech, speech, noise]),
        "loud speech": speech * np.float32(30),
    }


@pytest.mark.parametrize("kind", list(_sounds(_silence(3))))
def test_probabilities_equal_those_of_the_published_network(
    detector: VoiceDetector, speech: Waveform, kind: str
) -> None:
    waveform = _sounds(speech)[kind]
    reference = _published_probabilities(waveform)
    found = np.concatenate(list(detector.probabilities([waveform])))
    assert np.abs(found - reference).max() < 1e-5
    if kind == "speech":
        assert reference.min() < 0.1 < 0.9 < reference.max()


def test_a_stream_hears_what_the_published_network_hears(
    detector: VoiceDetector, speech: Waveform
) -> None:
    waveform = np.concatenate([speech, _silence(0.5)])
    frames = waveform[: len(waveform) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    stream = detector.stream()
    found = [stream.probability(frame) for frame in frames]
    assert np.abs(found - _published_probabilities(frames.reshape(-1))).max() < 1e-5


def _by_hand(probabilities: NDArray[np.float32], options: CutOptions) -> list[list[int]]:
    """Runs of speech in frames, one frame after the other."""
    runs: list[list[int]] = []
    speaking = False
    for frame, probability in enumerate(probabilities):
        if speaking and probability < max(options.vad_threshold - 0.15, 0.01):
            speaking = False
        if not speaking and probability >= options.vad_threshold:
            speaking = True
            pause_ms = (frame - runs[-1][1]) * 32 if runs else options.min_silence_ms
            if pause_ms >= options.min_silence_ms:
                runs.append([frame, frame])
        if speaking:
            runs[-1][1] = frame + 1
    return [run for run in runs if (run[1] - run[0]) * 32 >= options.min_speech_ms]


@settings(max_examples=200)
@given(
    levels=st.lists(
        st.tuples(st.sampled_from([0.0, 0.4, 0.6, 1.0]), st.integers(1, 25)), max_size=20
    ),
    min_silence_ms=st.integers(50, 2000),
    min_speech_ms=st.integers(0, 1000),
    pad_ms=st.integers(0, 500),
)  # fmt: skip
def test_spans_follow_the_rules(
    levels: list[tuple[float, int]], min_silence_ms: int, min_speech_ms: int, pad_ms: int
) -> None:
    options = CutOptions(
        min_silence_ms=min_silence_ms, min_speech_ms=min_speech_ms, speech_pad_ms=pad_ms
    )
    probabilities = np.repeat(
        np.array([level for level, _ in levels], np.float32), [n for _, n in levels]
    )
    n_samples = len(probabilities) * FRAME_SAMPLES
    spans = spans_from(probabilities, options, n_samples)
    runs = [
        Span(first * FRAME_SAMPLES, last * FRAME_SAMPLES)
        for first, last in _by_hand(probabilities, options)
    ]
    assert len(spans) == len(runs)
    pad = pad_ms * 16
    for index, (span, run) in enumerate(zip(spans, runs, strict=True)):
        assert 0 <= span.start <= run.start < run.end <= span.end <= n_samples
        if index:
            assert spans[index - 1].end <= span.start
        neighbours = (runs[index - 1].end if index else -pad, run.start)
        if neighbours[1] - neighbours[0] >= 2 * pad:
            assert span.start == max(0, run.start - pad)


def test_the_last_span_ends_with_the_file() -> None:
    assert spans_from(np.ones(3, np.float32), CutOptions(min_speech_ms=0), 1100) == [(0, 1100)]


def test_one_detector_serves_many_threads(detector: VoiceDetector, speech: Waveform) -> None:
    file = np.concatenate([_silence(1), speech, _silence(1)])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: detector.spans([file], OPTIONS), range(8)))
    assert all(spans == found[0] for spans in found)
