"""The plugin exchanged for operators gives what the same patch made of operators gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.models import anchor_free, images, objectness, run
from trtforge.errors import ForgeError
from trtforge.graph.detection import existing_nms
from trtforge.graph.nms import NmsOptions, apply
from trtforge.graph.nms.exchange import exchange_plugin

MODELS = {"objectness": objectness, "anchor-free": anchor_free}


def patched(model: str, form: Any, impl: Any, options: NmsOptions) -> gs.Graph:
    graph = gs.import_onnx(MODELS[model]())
    apply(graph, form, options, impl)
    return graph


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("form", "same"), [("deepstream", "deepstream"), ("efficientnms", "onnx")])
@pytest.mark.parametrize(
    "options", [NmsOptions(), NmsOptions(0.05, 0.7, 7), NmsOptions(0.1, class_agnostic=True)]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_outputs_stay(
    model: str, form: str, same: str, options: NmsOptions, batch: int
) -> None:
    graph = patched(model, form, "plugin", options)
    outputs = [(tensor.name, tensor.shape, tensor.dtype) for tensor in graph.outputs]
    assert exchange_plugin(graph)
    assert existing_nms(graph).op == "NonMaxSuppression"
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in graph.outputs] == outputs
    feed = {"image": images(batch)}
    found, want = run(graph, feed), run(patched(model, same, "onnx", options), feed)
    assert want["num_detections"].min() > 0
    for name, each in want.items():
        assert found[name].dtype == each.dtype
        np.testing.assert_allclose(found[name], each, atol=1e-5, err_msg=name)


def test_scores_that_are_logits() -> None:
    graph = patched("anchor-free", "efficientnms", "plugin", NmsOptions(0.05))
    node = existing_nms(graph)
    probabilities = node.inputs[1]
    logits = gs.Variable("logits", np.float32)
    graph.nodes.append(gs.Node("Log", "log", inputs=[probabilities], outputs=[logits]))
    beside = gs.Variable("beside", np.float32)
    complement = gs.Variable("complement", np.float32)
    one = gs.Constant("one", np.array(1, np.float32))
    graph.nodes.append(gs.Node("Sub", "sub", inputs=[one, probabilities], outputs=[complement]))
    below = gs.Variable("below", np.float32)
    graph.nodes.append(gs.Node("Log", "log2", inputs=[complement], outputs=[below]))
    graph.nodes.append(gs.Node("Sub", "sub2", inputs=[logits, below], outputs=[beside]))
    node.inputs[1], node.attrs["score_activation"] = beside, 1
    assert exchange_plugin(graph.toposort())
    feed = {"image": images(1)}
    want = run(patched("anchor-free", "onnx", "onnx", NmsOptions(0.05)), feed)
    np.testing.assert_allclose(
        run(graph, feed)["detection_scores"], want["detection_scores"], atol=1e-4
    )


@pytest.mark.parametrize("form", ["none", "onnx"])
def test_a_graph_without_plugin_stays(form: str) -> None:
    graph = patched("anchor-free", form, "onnx", NmsOptions())
    count = len(graph.nodes)
    assert not exchange_plugin(graph)
    assert len(graph.nodes) == count


def test_attributes_that_are_lists() -> None:
    graph = patched("objectness", "efficientnms", "plugin", NmsOptions(0.05, 0.7, 7))
    node = existing_nms(graph)
    node.attrs = {name: [value] for name, value in node.attrs.items() if name != "plugin_version"}
    found = exchange_plugin(graph)
    assert found is not None
    assert (found.score, found.iou, found.max_det) == (pytest.approx(0.05), pytest.approx(0.7), 7)
    want = run(
        patched("objectness", "onnx", "onnx", NmsOptions(0.05, 0.7, 7)), {"image": images(1)}
    )
    np.testing.assert_allclose(
        run(graph, {"image": images(1)})["detection_boxes"], want["detection_boxes"], atol=1e-4
    )


@pytest.mark.parametrize("value", [[], "much", float("nan"), [float("inf")], None])
def test_a_threshold_that_is_none(value: Any) -> None:
    graph = patched("objectness", "efficientnms", "plugin", NmsOptions())
    attributes = existing_nms(graph).attrs
    attributes.update(max_output_boxes=value) if value is not None else attributes.pop(
        "score_threshold"
    )
    with pytest.raises(ForgeError, match="can't be exchanged"):
        exchange_plugin(graph)


@pytest.mark.parametrize("change", ["background class", "another plugin"])
def test_what_standard_operators_do_not(change: str) -> None:
    graph = patched("anchor-free", "efficientnms", "plugin", NmsOptions())
    if change == "background class":
        existing_nms(graph).attrs["background_class"] = 0
    else:
        existing_nms(graph).op = "BatchedNMSDynamic_TRT"
    with pytest.raises(ForgeError, match="can't be exchanged"):
        exchange_plugin(graph)
