"""Measures the exported model: errors, times, false text, agreement of engines, speed."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile
from jiwer import process_words

from training.augment import SAMPLE_RATE, Wave, background, telephone
from training.compose import Segment
from training.paths import MODEL, SAMPLES, WORK
from training.pool import Pool
from training.recognizers import Ct2Recognizer, Heard, Recognizer, TransformersRecognizer
from training.services import hear_by_engine

BATCH = 8
SERVICE_WINDOWS = 20  # of each set, through the product by each engine
Window = tuple[Wave, list[Segment]]


def normalize(text: str) -> str:
    """Lower case, no punctuation, ё as е."""
    return " ".join(re.findall(r"[а-яa-z0-9]+", text.lower().replace("ё", "е")))


def windows_of(pool: Pool, seed: int, limit: int = 80) -> list[Window]:
    """Lay a pool's clips out in order: one to four per window, half a second or so apart."""
    rng = np.random.default_rng(seed)
    windows: list[Window] = []
    index = 0
    while index < len(pool) and len(windows) < limit:
        wave = np.zeros(int(rng.uniform(0.1, 0.8) * SAMPLE_RATE), np.float32)
        segments: list[Segment] = []
        for _ in range(int(rng.integers(1, 5))):
            if index == len(pool) or (segments and len(wave) + pool.clips[index].length > 400_000):
                break
            clip, at = pool.clips[index], len(wave) / SAMPLE_RATE
            words = [[a + at, b + at] for a, b in clip.words]
            end = at + clip.length / SAMPLE_RATE
            first, last = (words[0][0], words[-1][1]) if words else (at + 0.04, end - 0.04)
            segments.append(Segment(clip.text, first, last, words))
            gap = np.zeros(int(rng.uniform(0.3, 1.0) * SAMPLE_RATE), np.float32)
            wave = np.concatenate([wave, pool.wave(index), gap])
            index += 1
        noise = rng.standard_normal(len(wave)) * 0.0003
        windows.append(((wave + noise).astype(np.float32)[: 30 * SAMPLE_RATE], segments))
    return windows


def noisy(windows: list[Window], seed: int) -> list[Window]:
    """Add backgrounds at 0 to 20 dB below the speech."""
    rng = np.random.default_rng(seed)
    result = []
    for wave, segments in windows:
        level = float(np.sqrt((wave**2).mean()))
        snr_db = rng.uniform(0, 20)
        sound = background(rng, len(wave)) * level * 10 ** (-snr_db / 20)
        result.append(((wave + sound).astype(np.float32), segments))
    return result


def hear_all(recognizer: Recognizer, waves: list[Wave], words: bool = False) -> list[Heard]:
    """Recognize any number of windows, some at a time, similar lengths together."""
    heard: list[Heard] = []
    for first in range(0, len(waves), BATCH):
        heard += recognizer.hear(waves[first : first + BATCH], words)
    return heard


def error_rates(references: list[str], hypotheses: list[str]) -> dict[str, float]:
    """Return WER and CER in percent of normalized texts."""
    truth = [normalize(text) for text in references]
    guess = [normalize(text) for text in hypotheses]
    return {
        "wer": round(100 * jiwer.wer(truth, guess), 2),
        "cer": round(100 * jiwer.cer(truth, guess), 2),
        "words": sum(len(t.split()) for t in truth),
    }


def time_errors(windows: list[Window], heard: list[Heard]) -> dict[str, float]:
    """Return median absolute errors in ms of segment borders and of aligned equal words."""
    borders: list[float] = []
    starts: list[float] = []
    ends: list[float] = []
    for (_, segments), got in zip(windows, heard, strict=True):
        if len(segments) == len(got.segments):
            for want, (start, end, _) in zip(segments, got.segments, strict=True):
                borders += [abs(want.start - start), abs(want.end - end)]
        known = [
            (span, part)
            for s in segments
            for span, word in zip(s.words, s.text.split(), strict=False)
            for part in normalize(word).split()
        ]
        said = [(a, b, part) for a, b, word in got.words for part in normalize(word).split()]
        if not known or not said:
            continue
        match = process_words(" ".join(w for _, w in known), " ".join(w for _, _, w in said))
        for chunk in match.alignments[0]:
            if chunk.type != "equal":
                continue
            for i in range(chunk.ref_end_idx - chunk.ref_start_idx):
                span = known[chunk.ref_start_idx + i][0]
                start, end, _ = said[chunk.hyp_start_idx + i]
                starts.append(abs(span[0] - start))
                ends.append(abs(span[1] - end))
    middle = {"segment_border": borders, "word_start": starts, "word_end": ends}
    return {f"{k}_ms": round(1000 * float(np.median(v))) for k, v in middle.items() if v} | {
        "words_timed": len(starts),
        "segments_timed": len(borders) // 2,
    }


def false_text(recognizer: Recognizer) -> dict[str, object]:
    """Recognize 10 minutes without speech; count windows with any text."""
    rng = np.random.default_rng(404)
    waves: list[Wave] = [np.zeros(30 * SAMPLE_RATE, np.float32)]
    for index in range(19):
        wave = background(rng, 30 * SAMPLE_RATE)
        gain = 10 ** (rng.uniform(-60, -3) / 20) / (np.abs(wave).max() + 1e-9)
        waves.append((wave * gain).astype(np.float32))
        if index % 3 == 0:
            waves[-1] = waves[-1][: int(rng.uniform(2, 20) * SAMPLE_RATE)]
    heard = hear_all(recognizer, waves)
    return {
        "minutes": 10,
        "windows": len(waves),
        "windows_with_text": sum(bool(h.text) for h in heard),
        "texts": [h.text for h in heard if h.text],
        "no_speech_min": round(min(h.no_speech for h in heard), 3),
    }


def sample_windows(path: Path) -> list[Wave]:
    """Cut a recording, mixed down as the product does, at the quietest 0.3 s of each 15 to 28 s."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        raise ValueError(f"{path} is not at {SAMPLE_RATE} Hz")
    sound = audio.mean(axis=1)
    windows: list[Wave] = []
    at, frame = 0, int(0.3 * rate)
    while len(sound) - at > 28 * rate:
        spots = range(at + 15 * rate, at + 28 * rate - frame, frame // 6)
        quiet = min(spots, key=lambda s: float((sound[s : s + frame] ** 2).mean()))
        windows.append(sound[at : quiet + frame // 2])
        at = quiet + frame // 2
    windows.append(sound[at:])
    return windows


def report(folder: Path, quick: bool) -> dict[str, object]:
    """Measure everything; `quick` leaves the engines' comparison and the noisy sets out."""
    recognizer = TransformersRecognizer(folder)
    result: dict[str, object] = {}
    limit = 25 if quick else 60
    sets = {
        "a_seen_voices": windows_of(Pool("eval_seen"), 1, limit),
        "a_unit_selection": windows_of(Pool("eval_units"), 2, limit),
        "b_held_out_voice": windows_of(Pool("eval_voice"), 3, limit),
        "c_human_held_out": windows_of(Pool("prompts_held_out"), 4, limit),
        "c_human_joined_words": windows_of(Pool("eval_ivr"), 5, limit),
        "x_human_man_open_vocabulary": windows_of(Pool("read_held_out"), 6, 12),
    }
    timed = sets["a_seen_voices"] + sets["c_human_joined_words"]
    if not quick:
        mixed = sets["a_seen_voices"][:25] + sets["c_human_held_out"][:15]
        sets["d_telephone"] = [(telephone(w), s) for w, s in mixed]
        sets["e_noise_0_20_db"] = noisy(mixed, 7)
    texts: dict[str, list[str]] = {}
    for name, windows in sets.items():
        heard = hear_all(recognizer, [w for w, _ in windows])
        texts[name] = [h.text for h in heard]
        result[name] = error_rates([" ".join(s.text for s in ss) for _, ss in windows], texts[name])
        print(name, json.dumps(result[name]), flush=True)
        for (_, segments), got in list(zip(windows, heard, strict=True))[:2]:
            print("   want", " ".join(s.text for s in segments), "\n   got ", got.text, flush=True)
    heard = hear_all(recognizer, [w for w, _ in timed], words=True)
    result["times"] = time_errors(timed, heard)
    result["false_text"] = false_text(recognizer)
    for path in sorted(SAMPLES.glob("*.flac")):
        got = hear_all(recognizer, sample_windows(path))
        wanted = path.with_suffix(".txt").read_text(encoding="utf-8")
        result[path.name] = error_rates([wanted], [" ".join(h.text for h in got)])
    if not quick:
        domain = {name: windows for name, windows in sets.items() if not name.startswith("x_")}
        result["engines"] = compare(folder, domain, texts)
        result["speed"] = speed(recognizer)
        result["services"] = through_services(folder, domain)
    return result


def through_services(folder: Path, sets: dict[str, list[Window]]) -> dict[str, dict[str, float]]:
    """Return WER in percent by engine and set, of the whole product, and its agreement.

    `same_percent` is the share of clean recordings with the very text of the first engine.
    """
    kept = {name: windows[:SERVICE_WINDOWS] for name, windows in sets.items()}
    clean = [name for name in kept if name[0] in "abc"]
    heard = hear_by_engine(folder, {k: [wave for wave, _ in v] for k, v in kept.items()})
    result: dict[str, dict[str, float]] = {}
    first = next(iter(heard.values()))
    for engine, texts in heard.items():
        result[engine] = {
            name: error_rates([" ".join(s.text for s in ss) for _, ss in windows], texts[name])[
                "wer"
            ]
            for name, windows in kept.items()
        }
        pairs = [pair for name in clean for pair in zip(texts[name], first[name], strict=True)]
        same = sum(normalize(ours) == normalize(theirs) for ours, theirs in pairs)
        result[engine]["same_percent"] = round(100 * same / len(pairs), 1)
    return result


def compare(
    folder: Path, sets: dict[str, list[Window]], texts: dict[str, list[str]]
) -> dict[str, object]:
    """Return for CTranslate2 float32 and int8 the share of windows with transformers' very text."""
    agreement: dict[str, object] = {}
    for kind in ("float32", "int8"):
        engine = Ct2Recognizer(folder, kind)
        same = total = 0
        for name, windows in sets.items():
            heard = hear_all(engine, [w for w, _ in windows])
            pairs = list(zip(heard, texts[name], strict=True))
            same += sum(normalize(h.text) == normalize(t) for h, t in pairs)
            total += len(pairs)
        agreement[kind] = {"same_percent": round(100 * same / total, 1), "windows": total}
    return agreement


def speed(recognizer: Recognizer) -> dict[str, float]:
    """Return the seconds that 10 s of speech take, best of three."""
    wave = np.concatenate([w for w, _ in windows_of(Pool("eval_seen"), 1, 4)])[: 10 * SAMPLE_RATE]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        recognizer.hear([wave])
        seconds.append(time.perf_counter() - began)
    return {"seconds_per_10_s": round(min(seconds), 2)}


def main() -> None:
    """Print the report as JSON and keep it beside the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=WORK / "evaluation.json")
    arguments = parser.parse_args()
    result = report(arguments.model, arguments.quick)
    text = json.dumps(result, ensure_ascii=False, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
