"""Replace TensorRT's NMS plugin by standard ONNX operators, with the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import existing_nms
from trtforge.graph.nms import NmsOptions, standard_nms
from trtforge.graph.nms.strip import plugin_inputs

PLUGIN = "EfficientNMS_TRT"


def exchange_plugin(graph: gs.Graph) -> NmsOptions | None:
    """Replace an `EfficientNMS_TRT` node by standard operators with its own thresholds, in place.

    All that reads the plugin's outputs stays: a graph in the form of DeepStream's stock parser
    keeps that form.

    Returns:
        the node's thresholds; None where there was none.

    Raises:
        ForgeError: another plugin of TensorRT's suppresses boxes, or this one does what standard
            operators don't.
    """
    node = existing_nms(graph)
    if node is None or not node.op.endswith("_TRT"):
        return None
    options = (
        _options(node)
        if node.op == PLUGIN and len(node.inputs) == 2 and len(node.outputs) == 4
        else None
    )
    if options is None:
        raise ForgeError(
            f"'{node.name}' ({node.op}) can't be exchanged for standard operators",
            "export the model without NMS: trtforge puts its own into the graph",
        )
    outputs: list[Any] = list(node.outputs)
    boxes, scores = plugin_inputs(graph, node)
    four = standard_nms(graph, boxes, scores, options, "corners").four
    node.outputs.clear()
    for made, wanted in zip(four, outputs, strict=True):
        graph.nodes.append(
            gs.Node("Identity", f"{wanted.name}/exchanged", inputs=[made], outputs=[wanted])
        )
    graph.cleanup().toposort()
    return options


def _options(node: gs.Node) -> NmsOptions | None:
    """Return the node's thresholds; None where one is missing, or a class is background."""
    try:
        if _number(node, "background_class", -1) != -1:
            return None
        return NmsOptions(
            score=_number(node, "score_threshold"),
            iou=_number(node, "iou_threshold"),
            max_det=int(_number(node, "max_output_boxes")),
            class_agnostic=bool(_number(node, "class_agnostic", 0)),
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None


def _number(node: gs.Node, name: str, default: float | None = None) -> float:
    """Return an attribute that exporters write as a number or as a list of one."""
    return float(
        np.ravel(node.attrs[name] if default is None else node.attrs.get(name, default))[0]
    )
