"""Parts of a graph: models that compute what the whole computes."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.models import Sketch, network, yolov7_like, yolov8_like
from tests.quantized import conv, pair
from trtforge.backends.onnxruntime import session
from trtforge.graph.fold import fold
from trtforge.graph.inputs import dims, inputs
from trtforge.reducing.parts import analyse, cut, with_fixed_shapes
from trtforge.reducing.reference import begin, noise, part_of

SIZE = (64, 64)


def quantized() -> onnx.ModelProto:
    """Two convolutions with Q/DQ weights; one pair is read twice."""
    s = network(0)
    x = pair(s, "image", np.int8(0))
    one, two = conv(s, x), conv(s, x)
    return s.model(s.op("Add", pair(s, one, np.int8(0)), s.op("Relu", two)), batch=1)


@pytest.mark.parametrize("build", [yolov7_like, yolov8_like, quantized])
@pytest.mark.parametrize("seed", range(4))
def test_parts_compute_what_the_whole_computes(build: object, seed: int) -> None:
    model = fold(with_fixed_shapes(build(), 2, SIZE), opset=None)  # type: ignore[operator]
    start = begin(model, noise(model))
    rng = np.random.default_rng(seed)
    count = len(start.units)
    for size in (1, count // 3, count - 1):
        units = sorted(rng.choice(count, size, replace=False).tolist())
        part = part_of(cut(start.whole, units), start.values)
        if part is None:  # its edge is no float tensor
            continue
        onnx.checker.check_model(part.model)
        found = session(part.model.SerializeToString(), fuse=False).run(list(part.right), part.fed)
        for values, right in zip(found, part.right.values(), strict=True):
            np.testing.assert_allclose(values, right, rtol=1e-3, atol=1e-4)


def test_all_units_are_the_whole() -> None:
    model = yolov7_like()
    whole = analyse(model)
    part = cut(whole, range(len(whole.units)))
    assert part is not None
    assert [node.name for node in part.graph.node] == [node.name for node in model.graph.node]
    assert [value.name for value in part.graph.output] == [
        value.name for value in model.graph.output
    ]


def test_quantize_and_dequantize_stay_together() -> None:
    """No part has an integer tensor at its edge, and weights go with their convolution."""
    whole = analyse(quantized())
    operators = [
        [whole.model.graph.node[number].op_type for number in unit] for unit in whole.units
    ]
    assert sum(len(unit) > 1 for unit in operators) == 2
    for count in (1, 2, 3):
        for units in itertools.combinations(range(len(whole.units)), count):
            part = cut(whole, units)
            assert part is not None
            edge = [*part.graph.input, *part.graph.output]
            assert {value.type.tensor_type.elem_type for value in edge} == {TensorProto.FLOAT}
            made = {name for node in part.graph.node for name in node.output}
            weights = [node.input[1] for node in part.graph.node if node.op_type == "Conv"]
            assert made.issuperset(weights)


def test_an_unknown_operator_is_cut_out_alone() -> None:
    """Its results, and what is computed from them, are taken to be like its input."""
    s = network(1)
    unknown = [s.op("Mystery_TRT", "image")]
    unknown += [s.op("Riddle", s.op("Relu", unknown[0]), domain="com.acme")]
    last = s.op("Neg", unknown[1])
    model = Sketch.model(s, last, batch=1)
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    whole = analyse(model)
    for number in range(4):
        part = cut(whole, [number])
        assert part is not None
        assert len(part.graph.node) == 1
        assert dims(part.graph.output[0]) == [1, 3, 64, 64]


def test_a_sequence_is_no_edge() -> None:
    s = network(1)
    rows = s.op("SplitToSequence", "image", axis=2)
    model = s.model(s.op("ConcatFromSequence", rows, axis=2), batch=1)
    whole = analyse(model)
    assert cut(whole, [0]) is None
    assert cut(whole, [1]) is None
    assert cut(whole, [0, 1]) is not None


def test_bodies_read_what_is_around_them() -> None:
    s = network(2)
    x = s.op("Relu", "image")
    inner = helper.make_graph(
        [helper.make_node("Neg", [x], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    test = s.op("Greater", s.op("ReduceMax", "image", keepdims=0), s.const(0))
    model = s.model(s.op("If", test, then_branch=inner, else_branch=inner), batch=1)
    whole = analyse(model)
    part = cut(whole, [len(whole.units) - 1])
    assert part is not None
    assert {value.name for value in inputs(part)} == {x, test}
