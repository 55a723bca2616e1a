"""Silero VAD v6 as published -> the same network laid out for many frames at a time.

`python -m training.voice_network PUBLISHED.onnx` writes src/stenograf/audio/silero_vad_v6.onnx.
Outputs and weights stay; what changes is how a batch is computed. As published, a convolution sees
one frame after the other, four columns wide at most. Here every tap of every convolution is one
matrix product over all frames, and products with the padding are left out; so 18 750 frames, ten
minutes, cost a third. The spectrum, a product with sines and cosines under a Hann window, is left
to a fast Fourier transform before the network, which has its four columns as inputs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

TARGET = Path(__file__).parents[1] / "src" / "stenograf" / "audio" / "silero_vad_v6.onnx"

_COLUMNS, _BINS = 4, 129  # of a frame's spectrum
_STRIDES = (1, 2, 2, 1)  # of the four convolutions
_WIDTH = 128  # of the LSTM
_MAGNITUDES = [f"magnitudes.{column}" for column in range(_COLUMNS)]

Weights = dict[str, NDArray[np.float32]]


class Graph:
    """Collects nodes and constants; every node is called after its one output, or its first."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Keep a constant under a name; the same name means the same constant."""
        if name not in self._constants:
            whole = np.array(value, order="C")
            self._constants[name] = numpy_helper.from_array(whole, name)
        return name

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: object) -> str:
        """Add a node, give back the name of its first output."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def model(self) -> onnx.ModelProto:
        """The graph with the state and the outputs of the published network, checked."""
        state = [1, 1, _WIDTH]
        graph = helper.make_graph(
            self.nodes,
            "silero_vad_v6",
            [
                *(_value(name, ["frames", _BINS]) for name in _MAGNITUDES),
                *(_value("h", state), _value("c", state)),
            ],
            [_value("speech_probs", ["frames"]), _value("hn", state), _value("cn", state)],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def build(weights: Weights) -> onnx.ModelProto:
    """The network for many frames, from the weights of the published one."""
    graph = Graph()
    columns = _MAGNITUDES
    for layer, stride in enumerate(_STRIDES):
        name = f"encoder.conv_layers.{layer}"
        columns = _convolution(
            graph, name, columns, stride, weights[f"{name}.weight"], weights[f"{name}.bias"]
        )
    (encoded,) = columns
    _decoder(graph, encoded, weights)
    return graph.model()


def _convolution(
    graph: Graph,
    name: str,
    columns: Sequence[str],
    stride: int,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> list[str]:
    """Width 3, padding 1, ReLU: each column from its neighbours that are there."""
    found = []
    for centre in range(0, len(columns), stride):
        total = graph.constant(f"{name}.bias", bias)
        for tap in range(3):
            if 0 <= centre + tap - 1 < len(columns):
                product = graph.constant(f"{name}.weight.{tap}", weight[:, :, tap].T)
                inputs = [columns[centre + tap - 1], product, total]
                total = graph.add("Gemm", inputs, f"{name}.{centre}.{tap}")
        found.append(graph.add("Relu", [total], f"{name}.{centre}"))
    return found


def _decoder(graph: Graph, encoded: str, weights: Weights) -> None:
    one = graph.constant("one", np.array([1]))
    sequence = graph.add("Unsqueeze", [encoded, one], "sequence")
    names = ("onnx::LSTM_209", "onnx::LSTM_210", "onnx::LSTM_211")
    lstm = [graph.constant(name, weights[name]) for name in names]
    inputs = [sequence, *lstm, "", "h", "c"]
    graph.add("LSTM", inputs, "heard", "hn", "cn", hidden_size=_WIDTH)
    shape = graph.constant("rows", np.array([-1, _WIDTH]))
    rows = graph.add("Reshape", [graph.add("Relu", ["heard"], "heard.relu"), shape], "heard.rows")
    weight = graph.constant("decoder.weight", weights["decoder.conv1d.weight"].reshape(_WIDTH, 1))
    bias = graph.constant("decoder.bias", weights["decoder.conv1d.bias"])
    speech = graph.add("Sigmoid", [graph.add("Gemm", [rows, weight, bias], "logits")], "speech")
    graph.add("Reshape", [speech, graph.constant("flat", np.array([-1]))], "speech_probs")


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def main() -> None:
    """Convert the published file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path, help="faster_whisper/assets/silero_vad_v6.onnx")
    published = onnx.load(parser.parse_args().published)
    initializers = published.graph.initializer
    onnx.save(build({each.name: numpy_helper.to_array(each) for each in initializers}), TARGET)


if __name__ == "__main__":
    main()
