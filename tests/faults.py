"""Models with a fault in the middle: what a builder refuses, and what FP16 does not hold."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.models import network, yolov7_like
from tests.quantized import pair, weights
from trtforge.graph.fold import fold


def detector() -> onnx.ModelProto:
    return fold(yolov7_like())


def too_many() -> onnx.ModelProto:
    """A sort in a branch that ends in an output of its own."""
    s = network(3)
    x = s.relu(s.relu("image", (3, 8), 3), (8, 4), 3)
    best = s.op("TopK", s.op("Reshape", x, s.ints(1, 4 * 64 * 64)), s.ints(4000))
    s.nodes[-1].output.append("index")
    score = s.op("Mul", s.op("Sigmoid", best), s.const(2))
    return s.model(s.op("Neg", s.silu(x, (4, 4), 3)), score, batch=1)


def narrow() -> onnx.ModelProto:
    """TensorRT-RTX 1.7 does not compile a convolution along one axis with a subtraction behind it."""
    s = network(6)
    rows = s.op("Reshape", s.relu(s.relu("image", (3, 8), 3), (8, 4), 3), s.ints(1, 4, 4096))
    kernel = s.const(s.rng.normal(size=(4, 4, 3)))
    y = s.op("Conv", s.op("Relu", rows), kernel, s.const(s.rng.normal(size=4)), pads=[1, 1])
    return s.model(s.op("Sigmoid", s.op("Neg", s.op("Sub", y, s.const(0.5)))), batch=1)


def listed() -> onnx.ModelProto:
    """TensorRT-RTX's parser has no NonZero; a Q/DQ pair stands before and behind it."""
    s = network(4)
    kernel = weights(s, (4, 3, 3, 3), np.int8, 0)
    x = pair(s, s.op("Conv", pair(s, "image", np.int8(0)), kernel), np.int8(0))
    where = s.op("Cast", s.op("NonZero", s.op("Relu", x)), to=TensorProto.FLOAT)
    return s.model(s.op("Neg", where), s.op("Sigmoid", x), batch=1)


def overflowing() -> onnx.ModelProto:
    """YOLOv7's blocks; one of their tensors is also an output, times 1e8 in FP16, which ends at 65504."""
    model = detector()
    tensor = [node for node in model.graph.node if node.op_type == "Conv"][6].input[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1e8, np.float32), "large"))
    model.graph.node.extend(
        [
            helper.make_node("Mul", [tensor, "large"], ["larger"], "enlarge"),
            helper.make_node("Cast", ["larger"], ["half"], "halve", to=TensorProto.FLOAT16),
            helper.make_node("Flatten", ["half"], ["flat"], "flatten"),
        ]
    )
    flat = helper.make_tensor_value_info("flat", TensorProto.FLOAT16, ["batch", "values"])
    model.graph.output.append(flat)
    return model


def unknown() -> onnx.ModelProto:
    """YOLOv7's blocks with an operator in the middle that nobody knows."""
    model = detector()
    reader = [node for node in model.graph.node if node.op_type == "Conv"][6]
    mystery = helper.make_node("Mystery", [reader.input[0]], ["secret"], "n", domain="com.acme")
    nodes = list(model.graph.node)
    reader.input[0] = "secret"
    place = nodes.index(reader)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:place], mystery, *nodes[place:]])
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    return model
