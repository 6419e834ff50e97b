"""Every ONNX node is in a layer, folded away, or listed as lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as onnxruntime_package
import pytest

from tests import models
from tests.unit.reporting.rows import layer, t
from trtforge.reporting import origin, ort
from trtforge.reporting.account import account
from trtforge.reporting.model import Layer, Node


def graph_of(s: models.Sketch, *outputs: str) -> origin.Origin:
    return origin.from_model(onnx.shape_inference.infer_shapes(s.model(*outputs, batch=1)))


def placed(nodes: list[Node]) -> dict[str, str]:
    return {node.name: node.why or node.place for node in nodes}


def conv(s: models.Sketch, x: str, channels: tuple[int, int], kernel: int = 1) -> str:
    return s.op(
        "Conv",
        x,
        s.const(np.ones((channels[1], channels[0], kernel, kernel))),
        kernel_shape=[kernel] * 2,
    )


def test_named_nodes_are_in_their_layers_and_the_rest_is_listed() -> None:
    s = models.sketch()
    graph = graph_of(s, s.op("Exp", s.op("Relu", s.op("Sin", "image"))))
    layers, nodes = account([layer("a", "n0"), layer("b", "n2 alien")], graph, 1)
    assert placed(nodes) == {"n0": "layer", "n1": "layer", "n2": "layer"}
    assert [each.inferred for each in layers] == [["n1"], []]  # all that n1 reads comes from a
    assert layers[1].nodes == ["alien", "n2"]


def test_a_node_between_two_layers_may_belong_to_neither() -> None:
    s = models.sketch()
    sides = s.op("Sin", "image"), s.op("Cos", "image")
    middle = s.op("Add", *sides)
    graph = graph_of(s, s.op("Exp", middle), s.op("Log", middle))
    _, nodes = account(
        [layer("a", "n0"), layer("b", "n1"), layer("c", "n3"), layer("d", "n4")], graph, 1
    )
    assert placed(nodes)["n2"] == "unaccounted"


def test_constants_shapes_and_dead_ends_are_folded() -> None:
    s = models.sketch()
    rows = s.op(
        "Concat", s.op("Slice", s.op("Shape", "image"), s.ints(0), s.ints(1)), s.ints(-1), axis=0
    )
    s.op("Cos", "image")
    doubled = s.op("Mul", s.const([2.0]), s.const([3.0]))
    graph = graph_of(s, s.op("Mul", s.op("Reshape", "image", rows), doubled))
    _, nodes = account([layer("a", "n6")], graph, 1)
    assert placed(nodes) == {
        "n0": "shape arithmetic",
        "n1": "shape arithmetic",
        "n2": "shape arithmetic",
        "n3": "feeds no output",
        "n4": "constant",
        "n5": "a view, moves nothing",
        "n6": "layer",
    }


def quantized(s: models.Sketch, x: str, scale: float) -> str:
    zero = s.const(0, np.int8)
    return s.op(
        "DequantizeLinear", s.op("QuantizeLinear", x, s.const(scale), zero), s.const(scale), zero
    )


@pytest.mark.parametrize(
    ("second", "want"), [(0.5, "cancels with the scale beside it"), (0.25, "layer")]
)
def test_pairs_of_one_scale_cancel_through_moves(second: float, want: str) -> None:
    s = models.sketch()
    pooled = s.op(
        "MaxPool", quantized(s, s.op("Sin", "image"), 0.5), kernel_shape=[2, 2], strides=[2, 2]
    )
    graph = graph_of(s, s.op("Cos", quantized(s, pooled, second)))
    _, nodes = account([layer("a", "n0 n1"), layer("b", "n3"), layer("c", "n6")], graph, 1)
    found = placed(nodes)
    assert found["n2"] == found["n4"] == want  # the DQ before the pool and the Q behind it
    assert found["n5"] == "layer"


def test_a_concat_of_several_layers_is_written_in_place_unless_a_layer_writes_it() -> None:
    s = models.sketch()
    whole = s.op("Concat", s.op("Sin", "image"), s.op("Cos", "image"), axis=1)
    graph = graph_of(s, s.op("Exp", whole))
    apart = [
        layer("a", "n0", writes=[t("t2.1_myl0")]),
        layer("b", "n1", writes=[t("t2.1_myl0")]),
        layer("c", "n3"),
    ]
    _, nodes = account(apart, graph, 1)
    assert placed(nodes)["n2"] == "written in place by the layers before it"
    kernel = [
        layer("a", "n0"),
        layer("b", "n1"),
        layer("k", writes=[t("t2.1_myl0")]),
        layer("c", "n3"),
    ]
    layers, nodes = account(kernel, graph, 1)
    assert placed(nodes)["n2"] == "layer"
    assert layers[2].inferred == ["n2"]


def test_macs_go_to_the_layer_that_has_the_weights() -> None:
    s = models.sketch()
    graph = graph_of(s, conv(s, conv(s, "image", (3, 8), 3), (8, 16)))
    pad = layer("pad", "n0", constants=[t("zeros", (1, 1, 64, 64))])
    # TensorRT has padded these weights from 3 to 4 channels.
    first = layer("first", "n0", constants=[t("w", (8, 4, 3, 3)), t("b", (8,))])
    second = layer("second", "n1", constants=[t("w2", (1, 16, 8))])
    layers, nodes = account([pad, first, second], graph, 1)
    assert [each.macs for each in layers] == [0, 62 * 62 * 8 * 27, 62 * 62 * 16 * 8]
    assert sum(each.macs for each in layers) == sum(node.macs for node in nodes)
    assert [(node.learned, node.reads_input) for node in nodes] == [(True, True), (True, False)]


def test_foreign_nodes_hold_what_lies_between() -> None:
    s = models.sketch()
    first = s.op("Sin", "image")
    graph = graph_of(s, s.op("Add", s.op("Exp", first), s.op("Cos", first)))
    layers, nodes = account(
        [layer("{ForeignNode[n0...n3]}").model_copy(update={"nodes": ["{ForeignNode[n0...n3]}"]})],
        graph,
        1,
    )
    assert layers[0].inferred == ["n0", "n1", "n2", "n3"]
    assert {node.place for node in nodes} == {"layer"}


def test_no_layers_at_all() -> None:
    s = models.sketch()
    _, nodes = account([], graph_of(s, s.op("Exp", s.op("Sin", "image"))), 1)
    assert {node.place for node in nodes} == {"unaccounted"}


# -------------------------------------------------------------------------------------------------
# ONNX Runtime

BLOCKS = {
    "yolov7": models.yolov7_like,
    "yolov8": models.yolov8_like,
    "classifier": models.classifier,
}


def optimised(model: onnx.ModelProto, folder: Any) -> list[Layer]:
    options = onnxruntime_package.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime_package.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return ort.layers(onnx.load(folder / "optimised.onnx"), origin.from_model(model))


@pytest.mark.parametrize("name", BLOCKS)
def test_onnx_runtime_loses_no_node(tmp_path: Any, name: str) -> None:
    model = onnx.shape_inference.infer_shapes(BLOCKS[name](batch=1), data_prop=True)
    graph = origin.from_model(model)
    layers, nodes = account(optimised(model, tmp_path), graph, 1)
    assert len(nodes) == len(model.graph.node)
    assert [node.name for node in nodes if node.place == "unaccounted"] == []
    convolutions = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    assert convolutions <= {name for each in layers for name in each.members}
    assert sum(each.macs for each in layers) == sum(node.macs for node in nodes) > 0
    assert all(
        tensor.dtype != "unknown"
        for each in layers
        for tensor in each.outputs
        if each.type == "Conv"
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_macs_are_what_the_shapes_say(name: str) -> None:
    """Against a count by hand: outputs of ONNX Runtime, times what each output value adds up."""
    model = onnx.shape_inference.infer_shapes(BLOCKS[name](batch=1), data_prop=True)
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(node.output[0]) for node in products
    )
    session = onnxruntime_package.InferenceSession(
        probe.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = session.run([node.output[0] for node in products], {"image": models.images(1)})
    by_hand = {
        node.name: value.size * int(np.prod(weights[node.input[1]][1:]))
        for node, value in zip(products, values, strict=True)
    }
    graph = origin.from_model(model)
    found = {
        op.name: graph.macs(index, 1)
        for index, op in enumerate(graph.ops)
        if op.kind in ("Conv", "Gemm")
    }
    learned = {name: count for name, count in by_hand.items() if name in graph.learned}
    assert {name: found[name] for name in learned} == learned
