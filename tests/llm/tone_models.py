"""Models in GigaAM's ONNX layout that read tones: every frequency is one piece of text."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_asr.preprocessors.numpy_preprocessor import GigaamPreprocessorNumpy

from stenograf.contract.pcm import SAMPLE_RATE, Waveform

PIECES = ("▁раз", "▁два", "▁три", "▁Ко", "фе", ",", ".", "▁—")
FREQUENCIES_HZ = tuple(300.0 * 1.35**i for i in range(len(PIECES)))
FRAME_S = 0.04
_BANDS, _STRIDE, _STATE = 64, 4, 320
_LOUD = 2.0  # of the log-mel energy of a band with a tone in it
_SHARP = 4.0


def tone(piece: str, seconds: float, amplitude: float = 0.3) -> Waveform:
    """The sound that the models read as `piece`."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = FREQUENCIES_HZ[PIECES.index(piece)]
    return (amplitude * np.sin(2 * np.pi * frequency * time_s)).astype(np.float32)


def pause(seconds: float) -> Waveform:
    """Silence."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def ctc_folder(parent: Path, name: str = "tones") -> Path:
    """A folder as GigaAM's CTC models have it."""
    folder = parent / name
    _write_common(folder, "v3_vocab.txt")
    nodes = [
        *_scores_of_frames(),
        helper.make_node("Transpose", ["scores"], ["by_frame"], perm=[0, 2, 1]),
        helper.make_node("LogSoftmax", ["by_frame"], ["log_probs"], axis=-1),
    ]
    _save(
        folder / "v3_ctc.onnx",
        nodes,
        [_floats("features", ["b", _BANDS, "t"]), _lengths("feature_lengths")],
        [_floats("log_probs", ["b", "s", len(PIECES) + 1])],
        _constants(),
    )
    return folder


def rnnt_folder(parent: Path) -> Path:
    """A folder as GigaAM's punctuating RNN-T models have it; a piece never follows itself."""
    folder = parent / "rnnt"
    _write_common(folder, "v3_e2e_rnnt_vocab.txt")
    size = len(PIECES) + 1
    encoder = [
        *_scores_of_frames("audio_signal", "encoded"),
        helper.make_node("Add", ["length", "three"], ["padded"]),
        helper.make_node("Div", ["padded", "four"], ["steps"]),
        helper.make_node("Cast", ["steps"], ["encoded_len"], to=TensorProto.INT32),
    ]
    three, four = np.array([_STRIDE - 1], np.int64), np.array([_STRIDE], np.int64)
    _save(
        folder / "v3_e2e_rnnt_encoder.onnx",
        encoder,
        [_floats("audio_signal", ["b", _BANDS, "t"]), _lengths("length")],
        [
            _floats("encoded", ["b", size, "s"]),
            helper.make_tensor_value_info("encoded_len", TensorProto.INT32, ["b"]),
        ],
        _constants() | {"three": three, "four": four},
    )
    never_again = -1e4 * np.eye(size, dtype=np.float32)
    never_again[-1] = 0  # the blank may
    _save(
        folder / "v3_e2e_rnnt_decoder.onnx",
        [
            helper.make_node("Gather", ["memory", "x"], ["dec"], axis=0),
            helper.make_node("Identity", ["h.1"], ["h"]),
            helper.make_node("Identity", ["c.1"], ["c"]),
        ],
        [
            helper.make_tensor_value_info("x", TensorProto.INT64, [1, 1]),
            _floats("h.1", [1, 1, _STATE]),
            _floats("c.1", [1, 1, _STATE]),
        ],
        [
            _floats("dec", [1, 1, size]),
            _floats("h", [1, 1, _STATE]),
            _floats("c", [1, 1, _STATE]),
        ],
        {"memory": never_again},
    )
    _save(
        folder / "v3_e2e_rnnt_joint.onnx",
        [helper.make_node("Add", ["enc", "dec"], ["joint"])],
        [_floats("enc", [1, size, 1]), _floats("dec", [1, size, 1])],
        [_floats("joint", [1, size, 1])],
        {},
    )
    return folder


def _scores_of_frames(features: str = "features", out: str = "scores") -> list[onnx.NodeProto]:
    """Every fourth frame's scores, (batch, pieces and blank, frames): a band's loudness each."""
    return [
        helper.make_node("Slice", [features, "first", "last", "time", "stride"], ["some"]),
        helper.make_node("MatMul", ["pick", "some"], ["loudness"]),
        helper.make_node("Add", ["loudness", "bias"], [out]),
    ]


def _constants() -> dict[str, NDArray[np.generic]]:
    size = len(PIECES) + 1
    pick = np.zeros((size, _BANDS), np.float32)
    for row, band in enumerate(_bands()):
        pick[row, band] = _SHARP
    bias = np.zeros((size, 1), np.float32)
    bias[-1] = _SHARP * _LOUD
    return {
        "pick": pick,
        "bias": bias,
        "first": np.array([0], np.int64),
        "last": np.array([np.iinfo(np.int64).max], np.int64),
        "time": np.array([2], np.int64),
        "stride": np.array([_STRIDE], np.int64),
    }


def _bands() -> list[int]:
    preprocess = GigaamPreprocessorNumpy("gigaam_v3")
    found = []
    for piece in PIECES:
        sound = tone(piece, 0.5)[None]
        features, _ = preprocess(sound, np.array([sound.shape[1]]))
        found.append(int(features[0].mean(axis=-1).argmax()))
    assert len(set(found)) == len(found)
    return found


def _write_common(folder: Path, vocabulary: str) -> None:
    folder.mkdir(parents=True)
    lines = [f"{piece} {i}" for i, piece in enumerate([*PIECES, "<blk>"])]
    (folder / vocabulary).write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"model_type": "gigaam", "version": "v3", "features_size": _BANDS}
    (folder / "config.json").write_text(json.dumps(config))


def _floats(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _lengths(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["b"])


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, NDArray[np.generic]],
) -> None:
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
