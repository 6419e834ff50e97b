"""FP32 from FP16 graphs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import classifier, correlation, network, outputs, photographs, yolov8_like
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import to_half
from trtforge.graph.precision.single import to_single
from trtforge.graph.quantize.qdq import place


def types(model: onnx.ModelProto) -> set[int]:
    """Element types of all tensors, and those that nodes make by an attribute."""
    found = {tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        found.add(value.type.tensor_type.elem_type)
    for node in model.graph.node:
        found |= {each.i for each in node.attribute if each.name in ("to", "dtype")}
        found |= {each.t.data_type for each in node.attribute if each.HasField("t")}
    return found


def test_a_cast_graph_can_be_quantized() -> None:
    half = model_of(to_half(graph_of(fold(yolov8_like()))))
    single = to_single(half)
    assert TensorProto.FLOAT16 not in types(single)
    onnx.checker.check_model(single, full_check=True)
    for one, other in zip(
        outputs(half, photographs(1)), outputs(single, photographs(1)), strict=True
    ):
        assert correlation(one, other) > 0.999
    assert place(graph_of(fold(single))).operators


def test_weights_are_the_same_numbers() -> None:
    half = model_of(to_half(graph_of(fold(classifier()))))
    before = {each.name: numpy_helper.to_array(each) for each in half.graph.initializer}
    for tensor in to_single(half).graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), before[tensor.name])


def test_inputs_outputs_and_attributes_become_float() -> None:
    s = network(1)
    x = s.op("Conv", "image", s.const(np.ones((4, 3, 1, 1)), np.float16))
    filled = s.op(
        "ConstantOfShape",
        s.op("Shape", x),
        value=numpy_helper.from_array(np.array([0.5], np.float16)),
    )
    back = s.op("Cast", s.op("Cast", filled, to=TensorProto.FLOAT), to=TensorProto.FLOAT16)
    model = s.model(s.op("Add", x, back), batch=1, opset=17)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model = helper.make_model(model.graph, opset_imports=model.opset_import, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    single = to_single(model)
    onnx.checker.check_model(single, full_check=True)
    assert types(single) <= {TensorProto.FLOAT, TensorProto.INT64}


def test_a_float_graph_stays_as_it_is() -> None:
    model = classifier()
    assert to_single(model) is model
