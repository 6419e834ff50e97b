"""Q/DQ graphs are written as TensorRT computes them right, and their results stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.models import network, photographs
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import to_half
from trtforge.graph.quantize.qdq import INT8, place, quantize
from trtforge.graph.quantize.tensorrt import suit_tensorrt
from trtforge.graph.quantize.unserved import is_unserved


def run(model: onnx.ModelProto, *names: str) -> list[np.ndarray]:
    """Results in ONNX Runtime without optimisations: of the outputs, or of other tensors."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    every = onnx.ModelProto()
    every.CopyFrom(model)
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(every.SerializeToString(), options)
    return session.run(list(names) or None, {"image": photographs(1)})


def int8(model: onnx.ModelProto, half: bool = True) -> onnx.ModelProto:
    """The model with Q/DQ; every range is 4, which these small networks don't leave."""
    graph = graph_of(fold(model))
    placement = place(graph)
    typed = model_of(quantize(graph, placement, dict.fromkeys(placement.tensors, 4.0), INT8))
    return model_of(to_half(graph_of(typed))) if half else typed


def assert_close(one: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Rounding in FP16 moves some integers behind it to the next ones, and no more."""
    for expected, found in zip(run(one), run(other), strict=True):
        assert np.linalg.norm(found - expected) < 5e-3 * np.linalg.norm(expected)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def depthwise() -> onnx.ModelProto:
    """A depthwise convolution with ordinary channels, tiny ones and ones of zeros."""
    s = network(0)
    weights = s.rng.normal(0, 0.3, (8, 1, 3, 3))
    weights[2:4] *= 1e-5
    weights[5] = 0
    x = s.op("Conv", s.relu("image", (3, 8), 3), s.const(weights), group=8, kernel_shape=[3, 3])
    return s.model(s.conv(x, (8, 8)), batch=1)


def test_weights_become_floats_that_quantize_to_the_same_integers() -> None:
    stored = int8(depthwise())
    paired = model_of(suit_tensorrt(graph_of(stored)))
    onnx.checker.check_model(paired, full_check=True)
    constants = {weight.name: weight for weight in paired.graph.initializer}
    integers = {
        weight.name: onnx.numpy_helper.to_array(weight) for weight in stored.graph.initializer
    }
    pairs = [
        node
        for node in paired.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in constants
    ]
    assert len(pairs) == 2
    for node in pairs:
        (found,) = run(paired, node.output[0])
        np.testing.assert_array_equal(found, integers[node.output[0].removesuffix(".quantized")])
    assert_close(stored, paired)


def leaky(slope: float) -> onnx.ModelProto:
    s = network(0)
    x = s.conv(s.relu("image", (3, 8), 3), (8, 8), 3)
    return s.model(s.conv(s.op("LeakyRelu", x, alpha=slope), (8, 8)), batch=1)


@pytest.mark.parametrize(("slope", "kind"), [(0.1, "Max"), (1.0, "Max"), (3.0, "Min")])
def test_a_leaky_relu_becomes_a_maximum(slope: float, kind: str) -> None:
    before = int8(leaky(slope))
    after = model_of(suit_tensorrt(graph_of(before)))
    assert "LeakyRelu" in kinds(before)
    assert "LeakyRelu" not in kinds(after)
    assert kind in kinds(after)
    assert_close(before, after)


def test_other_graphs_are_left_as_they_are() -> None:
    """FP16 without Q/DQ, and Q/DQ in FP32, which TensorRT computes right as they are."""
    half = model_of(to_half(graph_of(fold(leaky(0.1)))))
    full = int8(leaky(0.1), half=False)
    for model in (half, full):
        after = model_of(suit_tensorrt(graph_of(model)))
        assert sorted(kinds(after)) == sorted(kinds(model))


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "unserved"),
    [
        ("MatMul", (128, 128), {}, False),
        ("MatMul", (128, 10), {}, True),
        ("MatMul", (120, 64), {}, True),
        ("MatMul", (4, 64), {}, False),
        ("MatMul", (64,), {}, True),
        ("Gemm", (10, 128), {"transB": 1}, True),
        ("Gemm", (128, 4), {"transB": 1}, False),
        ("Conv", (10, 64, 1, 1), {}, False),
        ("ConvTranspose", (64, 64, 2, 2), {}, True),
    ],
)
def test_operators_without_a_right_kernel(op, shape, attributes, unserved) -> None:
    s = network(0)
    weights = s.const(np.ones(shape))
    graph = graph_of(s.model(s.op(op, "image", weights, **attributes)))
    node = next(node for node in graph.nodes if node.op == op)
    assert is_unserved(node) == unserved


def test_what_a_product_reads_stays_float_in_sums_and_moves() -> None:
    """A transformer's residual stream: TensorRT takes 0 for what was quantized and moved before."""
    s = network(0)
    maps = s.relu("image", (3, 64), 3, 2)
    tokens = s.op("Transpose", s.op("Reshape", maps, s.ints(0, 64, 1024)), perm=[0, 2, 1])
    weights = s.const(s.rng.normal(0, 0.1, (64, 64)))
    added = s.op("Add", tokens, s.op("MatMul", tokens, weights))
    typed = int8(s.model(added, batch=1), half=False)
    makers = {name: node for node in typed.graph.node for name in node.output}
    product = next(node for node in typed.graph.node if node.op_type == "MatMul")
    residual = next(node for node in typed.graph.node if node.op_type == "Add")
    assert makers[product.input[0]].op_type == "DequantizeLinear"
    assert {makers[name].op_type for name in residual.input} == {"Transpose", "MatMul"}
    assert kinds(typed).count("QuantizeLinear") == 1
