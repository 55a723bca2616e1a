"""The exported model behind one call, through transformers and through CTranslate2."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ctranslate2
import numpy as np
import numpy.typing as npt
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

Wave = npt.NDArray[np.float32]
_FRAME_S = 0.02


@dataclass
class Heard:
    """What was recognized in one window; times in s from the window's start."""

    text: str
    segments: list[tuple[float, float, str]] = field(default_factory=list)
    words: list[tuple[float, float, str]] = field(default_factory=list)
    no_speech: float = 0.0


class Recognizer(Protocol):
    """Anything that turns windows of at most 30 s at 16 kHz into text."""

    def hear(self, waves: list[Wave], words: bool = False) -> list[Heard]:
        """Recognize the windows in one batch."""
        ...


def segments_of(tokens: list[int], zero: int, decode: Any) -> list[tuple[float, float, str]]:
    """Read <|start|> text <|end|> groups out of a token sequence."""
    result, start, inside = [], 0.0, []
    for token in tokens:
        if token < zero:
            inside.append(token)
            continue
        at = (token - zero) * _FRAME_S
        if inside:
            result.append((start, at, decode(inside).strip()))
            inside = []
        start = at
    if inside:
        result.append((start, 30.0, decode(inside).strip()))
    return result


class TransformersRecognizer:
    """Greedy decoding with timestamps by `generate`."""

    def __init__(self, folder: Path) -> None:
        self.processor = WhisperProcessor.from_pretrained(folder)
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()
        self._zero = self.processor.tokenizer.convert_tokens_to_ids("<|0.00|>")
        self._end = self.model.generation_config.eos_token_id
        self._nospeech = self.processor.tokenizer.convert_tokens_to_ids("<|nospeech|>")

    def hear(self, waves: list[Wave], words: bool = False) -> list[Heard]:
        """Recognize the windows in one batch; word times by cross-attention when asked."""
        features = self.processor(
            waves, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
        )
        start = torch.full((len(waves), 1), self.model.config.decoder_start_token_id)
        with torch.inference_mode():
            states = self.model.get_encoder()(features.input_features)
            first = self.model(encoder_outputs=states, decoder_input_ids=start).logits[:, 0]
            out = self.model.generate(
                features.input_features,
                attention_mask=features.attention_mask,
                language="ru",
                task="transcribe",
                return_timestamps=True,
                return_token_timestamps=words,
                return_dict_in_generate=True,
                num_beams=1,
                do_sample=False,
            )
        quiet = first.softmax(-1)[:, self._nospeech]
        return [self._read(out, i, float(quiet[i]), words) for i in range(len(waves))]

    def _read(self, out: Any, index: int, quiet: float, words: bool) -> Heard:
        decode = self.processor.tokenizer.decode
        row = out["sequences"][index].tolist()
        keep = [k for k, t in enumerate(row) if t < self._end or t >= self._zero]
        tokens = [row[k] for k in keep]
        segments = segments_of(tokens, self._zero, decode)
        text = " ".join(part for _, _, part in segments)
        timed: list[tuple[float, float, str]] = []
        if words:
            stamps = out["token_timestamps"][index].tolist()
            timed = _words(tokens, [stamps[k] for k in keep], self._zero, decode)
        return Heard(text, segments, timed, quiet)


def _words(
    tokens: list[int], stamps: list[float], zero: int, decode: Any
) -> list[tuple[float, float, str]]:
    """Group tokens into words; a token's stamp is when it starts, so the next one ends it."""
    result: list[tuple[float, float, str]] = []
    pieces: list[int] = []
    began = 0.0
    for token, stamp in zip([*tokens, zero], [*stamps, stamps[-1] if stamps else 0.0], strict=True):
        text = decode([token]) if token < zero else ""
        if pieces and (token >= zero or text.startswith(" ") or text in ",.!?"):
            result.append((began, stamp, decode(pieces).strip()))
            pieces = []
        if token < zero and text not in ",.!?":
            if not pieces:
                began = stamp
            pieces.append(token)
    return result


class Ct2Recognizer:
    """Greedy decoding with timestamps by CTranslate2."""

    def __init__(self, folder: Path, compute_type: str, beam: int = 1) -> None:
        self.processor = WhisperProcessor.from_pretrained(folder)
        self._beam = beam
        self._temporary = tempfile.TemporaryDirectory()
        target = f"{self._temporary.name}/model"
        subprocess.run(
            [
                str(Path(sys.executable).parent / "ct2-transformers-converter"),
                "--model",
                str(folder),
                "--output_dir",
                target,
            ],
            check=True,
            capture_output=True,
        )
        self.model = ctranslate2.models.Whisper(
            target, device="cpu", compute_type=compute_type, intra_threads=2
        )
        ids = self.processor.tokenizer.convert_tokens_to_ids
        self._prompt = [ids("<|startoftranscript|>"), ids("<|ru|>"), ids("<|transcribe|>")]
        self._zero, self._end = ids("<|0.00|>"), ids("<|endoftext|>")

    def hear(self, waves: list[Wave], words: bool = False) -> list[Heard]:
        """Recognize the windows in one batch; `words` is not supported here."""
        if words:
            raise NotImplementedError("word times are measured through transformers")
        features = self.processor(waves, sampling_rate=16_000, return_tensors="np").input_features
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features, np.float32))
        results = self.model.generate(
            view,
            [self._prompt] * len(waves),
            beam_size=self._beam,
            return_no_speech_prob=True,
            max_initial_timestamp_index=1500,
        )
        heard = []
        for result in results:
            tokens = [t for t in result.sequences_ids[0] if t < self._end or t >= self._zero]
            segments = segments_of(tokens, self._zero, self.processor.tokenizer.decode)
            text = " ".join(part for _, _, part in segments)
            heard.append(Heard(text, segments, [], result.no_speech_prob))
        return heard
