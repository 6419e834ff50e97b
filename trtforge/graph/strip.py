"""Cut a TensorRT NMS plugin away, so that any runtime can run what lies before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import PLUGINS, Detection, existing_nms, probe_of, recognise, to_corners
from trtforge.graph.edit import add_node, batch_dim, float32, input_size, name_output


def strip_nms(graph: gs.Graph) -> Detection | None:
    """Cut a TensorRT NMS plugin away, in place, so that any runtime can run the rest.

    The graph's outputs become `boxes` float32 `(B, N, 4)`, corners in pixels whatever the plugin's coding was, and
    `scores` float32 `(B, N, C)`, probabilities whatever its activation was: form "boxes-scores".

    Returns:
        what was found in the stripped graph; None where `graph` has no NMS and stays as it is.

    Raises:
        ForgeError: the NMS is ONNX's own operator (which every runtime can run), or the plugin decodes anchors or
            takes a box for every class.
    """
    node = existing_nms(graph)
    if node is None:
        return None
    if node.op not in PLUGINS:
        raise ForgeError(
            f"'{node.name}' ({node.op}) already suppresses boxes with standard operators, and cannot be cut away",
            "export the model without NMS, or keep the graph as it is with --nms none",
        )
    boxes, scores = plugin_inputs(graph, node)
    graph.outputs = [name_output(graph, boxes, "boxes", None), name_output(graph, scores, "scores", None)]
    graph.cleanup().toposort()
    detection = recognise(graph, "boxes-scores")
    if detection is not None:
        count = detection.boxes or "boxes"
        graph.outputs[0].shape = [batch_dim(graph), count, 4]
        graph.outputs[1].shape = [batch_dim(graph), count, detection.classes]
    return detection


def plugin_inputs(graph: gs.Graph, node: Any) -> tuple[Any, Any]:
    """Corners in pixels `(B, N, 4)` and probabilities `(B, N, C)` from the inputs of a plugin."""
    known = existing_nms(probe_of(graph)).inputs
    shape = known[0].shape or []
    if len(node.inputs) > 2 or (len(shape) == 4 and shape[2] != 1):
        raise ForgeError(
            f"'{node.name}' ({node.op}) decodes anchors or takes one box for every class, and cannot be cut away",
            "export the model without NMS, or keep the graph as it is with --nms none",
        )
    boxes, scores = (float32(graph, tensor, like.dtype) for tensor, like in zip(node.inputs, known, strict=True))
    if len(shape) == 4:
        boxes = add_node(graph, "Reshape", [boxes, np.array([0, -1, 4], np.int64)], "cut/boxes")
    if node.op == "EfficientNMS_TRT":
        if _integer(node, "box_coding", 0) == 1:
            boxes = to_corners(graph, boxes)
        if _integer(node, "score_activation", 0) == 1:
            scores = add_node(graph, "Sigmoid", [scores], "cut/sigmoid")
    elif _integer(node, "isNormalized", 1):
        size = input_size(graph)
        if size is None:
            raise ForgeError(
                f"'{node.name}' ({node.op}) takes boxes as fractions of an input of unknown size",
                "fix the input's height and width (--size)",
            )
        scale = np.array([size[1], size[0]] * 2, np.float32)
        boxes = add_node(graph, "Mul", [boxes, scale], "cut/pixels")
    return boxes, scores


def _integer(node: Any, name: str, default: int) -> int:
    """An attribute that exporters write as a number or as a list of one."""
    return int(np.ravel(node.attrs.get(name, default))[0])
