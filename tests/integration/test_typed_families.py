"""Families in FP16, and with Q/DQ on their heads: `patch` sees typed graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from test_families import OPTIONS, graph_of, told

from tests.families import FAMILIES
from tests.models import images, outputs, run
from trtforge.graph import model as files
from trtforge.graph.detection import recognise
from trtforge.graph.fold import fold
from trtforge.graph.nms import OUTPUTS, apply
from trtforge.graph.precision.half import to_half

SOME = (
    "yolov4",
    "yolov5 raw",
    "yolov8 raw",
    "yolox raw",
    "ssd",
    "yolov8-pose",
    "yolov8-obb",
    "yolov10",
    "rtdetr",
)


@pytest.mark.parametrize("name", SOME)
def test_half(name: str) -> None:
    plain = graph_of(name)
    apply(plain, "onnx", OPTIONS, "auto", *told(FAMILIES[name]))
    graph = files.graph_of(
        files.model_of(to_half(files.graph_of(fold(FAMILIES[name].build("batch")))))
    )
    apply(graph, "onnx", OPTIONS, "auto", *told(FAMILIES[name]))
    model = files.model_of(graph)
    onnx.checker.check_model(model)
    want, got = run(plain, {"image": images(2)}), outputs(model, images(2), fuse=False)
    assert np.abs(got[0] - want[OUTPUTS[0]]).max() <= 3  # some scores lie at the threshold
    np.testing.assert_allclose(got[2][:, 0], want["detection_scores"][:, 0], atol=0.01)


@pytest.mark.parametrize("name", FAMILIES)
def test_quantized_heads(name: str) -> None:
    graph = graph_of(name)
    for node in [
        node for node in graph.nodes if node.op == "Conv" and node.inputs[0].name == "image"
    ]:
        after = node.outputs[0]
        small, back = (
            gs.Variable(f"{after.name}.q", np.int8),
            gs.Variable(f"{after.name}.dq", np.float32),
        )
        for reader in list(after.outputs):
            reader.inputs = [back if each is after else each for each in reader.inputs]
        graph.outputs = [back if each is after else each for each in graph.outputs]
        scale = gs.Constant(f"{after.name}.s", np.array(0.1, np.float32))
        zero = gs.Constant(f"{after.name}.z", np.array(0, np.int8))
        graph.nodes.append(gs.Node("QuantizeLinear", small.name, {}, [after, scale, zero], [small]))
        graph.nodes.append(gs.Node("DequantizeLinear", back.name, {}, [small, scale, zero], [back]))
    found, plain = (
        recognise(each, *told(FAMILIES[name])) for each in (graph.toposort(), graph_of(name))
    )
    assert found is not None
    assert plain is not None
    assert (found.form, found.geometry, found.classes) == (
        plain.form,
        plain.geometry,
        plain.classes,
    )
    assert found.extras == plain.extras
