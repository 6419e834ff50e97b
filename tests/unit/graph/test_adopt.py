"""Q/DQ of other tools: the same numbers in the form that TensorRT takes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.models import network
from tests.quantized import LEFT, TAKEN, conv, pair
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of
from trtforge.graph.quantize.obstacle import integer_operator, unserved_pair

Arrays = dict[str, np.ndarray]


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    """Compute without any fusion, on an image with values beyond what is represented."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(1).normal(0, 2, (2, 3, 64, 64)).astype(np.float32)
    return list(session.run(None, {"image": image}))


def adopted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the folded model, which computes exactly what the original does."""
    after = fold(model)
    onnx.checker.check_model(after, full_check=True)
    for one, other in zip(run(model), run(after), strict=True):
        np.testing.assert_array_equal(one, other)
    again = fold(after)
    assert again.SerializeToString(deterministic=True) == after.SerializeToString(
        deterministic=True
    )
    return after


def constants(model: onnx.ModelProto) -> Arrays:
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_adopted(name: str) -> None:
    s = network(5)
    after = adopted(s.model(TAKEN[name](s), batch=2, opset=17))
    assert unserved_pair(graph_of(after)) is None
    values = constants(after)
    pairs = [node for node in after.graph.node if "quantize" in node.op_type.lower()]
    assert pairs
    for node in pairs:
        zero = values[node.input[2]]
        assert (zero.dtype, zero.any()) == (np.dtype(np.int8), False)
        assert values.get(node.input[0], zero).dtype == np.int8


def test_operators_of_onnxruntimes_domain() -> None:
    s = network(5)
    model = s.model(conv(s, pair(s, "image")), batch=2, opset=17)
    for node in model.graph.node:
        if "quantize" in node.op_type.lower():
            node.domain = "com.microsoft"
    model.opset_import.add(domain="com.microsoft", version=1)
    after = adopted(model)
    assert {node.domain for node in after.graph.node} == {""}
    assert unserved_pair(graph_of(after)) is None


def test_a_row_of_zeros_with_scale_zero() -> None:
    """TensorRT refuses a scale of 0."""
    s = network(5)
    values = s.const(np.rint(s.rng.normal(0, 40, (3, 3, 1, 1))), np.int8)
    scale = s.const([0.01, 0, -0.03])
    read = s.op("DequantizeLinear", values, scale, s.const([0, 0, 0], np.int8), axis=0)
    after = adopted(s.model(s.op("Conv", pair(s, "image"), read), batch=2, opset=17))
    (node,) = [n for n in after.graph.node if n.op_type == "DequantizeLinear" and n.attribute]
    assert constants(after)[node.input[1]].tolist() == pytest.approx([0.01, 1, 0.03])


@pytest.mark.parametrize("name", LEFT)
def test_what_can_not_be_adopted_is_named(name: str) -> None:
    build, why = LEFT[name]
    s = network(5)
    graph = graph_of(adopted(s.model(build(s), batch=2, opset=17)))
    found = unserved_pair(graph) or integer_operator(graph)
    assert found is not None
    assert why in found[0]
