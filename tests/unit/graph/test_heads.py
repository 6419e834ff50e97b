"""Where the learned part ends and the decode begins."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.models import CELLS, classifier, network, yolov7_like, yolov8_like
from trtforge.graph.fold import fold
from trtforge.graph.heads import decode, has_weights, last_learned, learned
from trtforge.graph.model import graph_of


def graph(model: object) -> gs.Graph:
    return graph_of(fold(model))  # type: ignore[arg-type]


def test_every_convolution_of_yolov7_is_learned() -> None:
    g = graph(yolov7_like())
    assert [node.name for node in learned(g)] == [
        node.name for node in g.nodes if node.op == "Conv"
    ]


def test_the_last_learned_are_the_heads() -> None:
    assert [node.inputs[1].shape[0] for node in last_learned(graph(yolov7_like()))] == [24, 24, 24]
    ends = last_learned(graph(yolov8_like()))
    assert sorted(node.inputs[1].shape[0] for node in ends) == [3, 3, 3, 32, 32, 32]


def test_the_fixed_weights_of_dfl_are_not_learned() -> None:
    g = graph(yolov8_like())
    fixed = [
        node for node in g.nodes if node.op == "Conv" and list(node.inputs[1].shape) == [1, 8, 1, 1]
    ]
    assert len(fixed) == 1
    assert fixed[0].name not in {node.name for node in learned(g)}
    assert fixed[0].name in {node.name for node in decode(g)}


def test_layout_between_softmax_and_dfl_is_seen_through() -> None:
    s = network(0)
    soft = s.op("Softmax", s.reshape(s.conv("image", (3, 32), 1, 8), 4, 8, 64), axis=2)
    moved = s.op("Identity", s.op("Transpose", soft, perm=[0, 2, 1, 3]))
    mean = s.op("Conv", moved, s.const(np.arange(8).reshape(1, 8, 1, 1)), kernel_shape=[1, 1])
    assert len(learned(graph(s.model(mean)))) == 1


def test_convolution_and_matrix_product_of_a_classifier() -> None:
    g = graph(classifier())
    assert Counter(node.op for node in learned(g)) == {"Conv": 6, "Gemm": 1}
    assert [node.op for node in last_learned(g)] == ["Gemm"]
    assert decode(g) == []


def test_the_decode_starts_behind_the_heads() -> None:
    g = graph(yolov7_like())
    names = {node.name for node in decode(g)}
    ends = {reader.name for node in last_learned(g) for reader in node.outputs[0].outputs}
    assert ends <= names
    assert not names & {node.name for node in learned(g)}
    assert g.outputs[0].inputs[0].name in names
    assert not any(node.op in ("LeakyRelu", "MaxPool") for node in decode(g))


def test_the_decode_is_closed_downstream() -> None:
    g = graph(yolov8_like())
    names = {node.name for node in decode(g)}
    for node in decode(g):
        assert all(reader.name in names for tensor in node.outputs for reader in tensor.outputs)


def test_without_learned_operators_there_is_no_decode() -> None:
    s = network(0)
    g = graph(s.model(s.op("Relu", "image")))
    assert learned(g) == last_learned(g) == decode(g) == []


def test_a_product_of_two_activations_has_no_weights() -> None:
    s = network(0)
    x = s.reshape(s.conv("image", (3, 4), 1, 8), 4, 64)
    attention = s.op("MatMul", x, s.op("Transpose", x, perm=[0, 2, 1]))
    g = graph(s.model(attention))
    assert [node.op for node in learned(g)] == ["Conv"]
    assert not has_weights(next(node for node in g.nodes if node.op == "MatMul"))


def test_a_matrix_product_with_constant_weights_is_learned() -> None:
    s = network(0)
    x = s.op("MatMul", s.reshape(s.conv("image", (3, 4), 1, 8), 4, 64), s.const(np.ones((64, 5))))
    assert [node.op for node in learned(graph(s.model(x)))] == ["Conv", "MatMul"]


@pytest.mark.parametrize(
    "chain", [(), ("Cast",), ("QuantizeLinear", "DequantizeLinear"), ("DequantizeLinear",)]
)
def test_weights_behind_casts_and_quantization_are_weights(chain: tuple[str, ...]) -> None:
    weights: gs.Tensor = gs.Constant("w", np.ones((4, 3, 1, 1), np.float32))
    for op in chain:
        made = gs.Variable(f"w.{op}", np.float32)
        gs.Node(op, op, inputs=[weights], outputs=[made])
        weights = made
    assert has_weights(
        gs.Node("Conv", "c", inputs=[gs.Variable("x"), weights], outputs=[gs.Variable("y")])
    )


def test_weights_that_are_computed_are_none() -> None:
    made = gs.Variable("made", np.float32)
    gs.Node("Mul", "m", inputs=[gs.Constant("w", np.ones(3, np.float32))], outputs=[made])
    assert not has_weights(
        gs.Node("Conv", "c", inputs=[gs.Variable("x"), made], outputs=[gs.Variable("y")])
    )


def test_the_sizes_of_the_test_models() -> None:
    assert [list(g.outputs[0].shape) for g in (graph(yolov7_like()), graph(yolov8_like()))] == [
        ["batch", 3 * CELLS, 8],
        ["batch", 7, CELLS],
    ]


def test_the_decode_begins_behind_a_recurrent_layer() -> None:
    """In FP16 its input is half: TensorRT-RTX refuses a float LSTM that reads a cast Transpose."""
    s = network(4)
    rows = s.op("Transpose", s.reshape(s.conv("image", (3, 4), 1, 8), 4, 64), perm=[2, 0, 1])
    weights = [s.const(s.rng.normal(size=(1, 16, 4))) for _ in range(2)]
    read = s.op("LSTM", rows, *weights, hidden_size=4)
    g = graph(s.model(s.op("Exp", read)))
    assert [node.op for node in decode(g)] == ["Exp"]
