"""Multiply-accumulates, against counting them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tests.models import (
    SIDE,
    anchor_free,
    classifier,
    network,
    objectness,
    yolov7_like,
    yolov8_like,
)
from trtforge.graph.fold import fold
from trtforge.graph.macs import macs
from trtforge.graph.model import graph_of, load
from trtforge.reporting import origin


def test_convolutions_strided_and_grouped() -> None:
    s = network(0)
    x = s.conv("image", (3, 8), 3, stride=2)
    x = s.op("Conv", x, s.const(np.zeros((8, 1, 3, 3))), kernel_shape=[3, 3], pads=[1] * 4, group=8)
    places = (SIDE // 2) ** 2
    graph = graph_of(fold(s.model(s.conv(x, (8, 4)))))
    assert sorted(macs(graph).values()) == sorted(
        [8 * 3 * 9 * places, 8 * 9 * places, 4 * 8 * places]
    )


@pytest.mark.parametrize(
    ("op", "shape", "weights", "attributes", "wanted"),
    [
        ("MatMul", ["batch", 5, 7], (7, 3), {}, 5 * 7 * 3),
        ("Gemm", ["batch", 7], (3, 7), {"transB": 1}, 7 * 3),
        ("Gemm", [49, 7], (7, 3), {}, 49 * 7 * 3),
        ("Gemm", [7, 49], (7, 3), {"transA": 1}, 49 * 7 * 3),
        ("ConvTranspose", ["batch", 4, 6, 6], (4, 2, 2, 2), {"strides": [2, 2]}, 4 * 2 * 4 * 36),
    ],
)
def test_other_operators(
    op: str,
    shape: list[int | str],
    weights: tuple[int, ...],
    attributes: dict[str, object],
    wanted: int,
) -> None:
    constant = numpy_helper.from_array(np.zeros(weights, np.float32), "w")
    node = helper.make_node(op, ["x", "w"], ["y"], "n", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [constant],
    )
    model = shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    )
    assert macs(graph_of(model)) == {"n": wanted}


DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "demo.onnx"
MODELS: dict[str, Any] = {
    "objectness": objectness,
    "anchor-free": anchor_free,
    "yolov7": yolov7_like,
    "yolov8": yolov8_like,
    "classifier": classifier,
    "demo": lambda: load(DEMO),
}


@pytest.mark.parametrize("name", MODELS)
def test_tune_and_reports_count_the_same(name: str) -> None:
    """One reads the shapes of a graph in memory, the other those that a file says."""
    model = fold(MODELS[name]())
    counted, report = macs(graph_of(model)), origin.from_model(model)
    assert {
        op.name: report.macs(index, 1) for index, op in enumerate(report.ops) if op.name in counted
    } == counted
    assert min(counted.values()) > 0
    assert report.learned == counted.keys()
