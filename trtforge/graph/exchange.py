"""Exchange TensorRT's NMS plugin for operators that every runtime has, with the outputs as they are."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import existing_nms
from trtforge.graph.nms import NmsOptions, standard_nms
from trtforge.graph.strip import plugin_inputs

PLUGIN = "EfficientNMS_TRT"
THRESHOLDS = {"score_threshold", "iou_threshold", "max_output_boxes"}


def exchange_plugin(graph: gs.Graph) -> NmsOptions | None:
    """Put standard operators in the place of an `EfficientNMS_TRT` node, in place, with the node's own thresholds.

    All that reads the plugin's outputs stays: a graph in the form of DeepStream's stock parser keeps that form.

    Returns:
        the node's thresholds; None where there was none.

    Raises:
        ForgeError: another plugin of TensorRT's suppresses boxes, or this one does what standard operators don't.
    """
    node = existing_nms(graph)
    if node is None or not node.op.endswith("_TRT"):
        return None
    whole = len(node.inputs) == 2 and len(node.outputs) == 4 and node.attrs.keys() >= THRESHOLDS
    if node.op != PLUGIN or not whole or int(node.attrs.get("background_class", -1)) != -1:
        raise ForgeError(
            f"'{node.name}' ({node.op}) can't be exchanged for standard operators",
            "export the model without NMS: trtforge puts its own into the graph",
        )
    outputs: list[Any] = list(node.outputs)
    boxes, scores = plugin_inputs(graph, node)
    options = _options(node)
    four = standard_nms(graph, boxes, scores, options, "corners").four
    node.outputs.clear()
    for made, wanted in zip(four, outputs, strict=True):
        graph.nodes.append(gs.Node("Identity", f"{wanted.name}/exchanged", inputs=[made], outputs=[wanted]))
    graph.cleanup().toposort()
    return options


def _options(node: Any) -> NmsOptions:
    return NmsOptions(
        score=float(node.attrs["score_threshold"]),
        iou=float(node.attrs["iou_threshold"]),
        max_det=int(node.attrs["max_output_boxes"]),
        class_agnostic=bool(node.attrs.get("class_agnostic", 0)),
    )
