"""Cut NMS away, so that any runtime can run what lies before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import Detection, existing_nms, recognise, to_corners
from trtforge.graph.detection.concrete import concrete
from trtforge.graph.detection.sources import known
from trtforge.graph.edit.nodes import (
    add_node,
    batch_dim,
    float32,
    input_size,
    name_output,
    upstream,
)
from trtforge.graph.heads import decode
from trtforge.graph.nms.inner import inner_nms
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode

_HINT = "export the model without its NMS; --nms keep leaves it in, for ONNX Runtime and TensorRT"
_SELECT = {"NonZero", "TopK", "ReduceMax", "ArgMax", "Compress", "Loop", "NonMaxSuppression"}


def strip_nms(graph: gs.Graph, figures: Decode | None = None) -> Detection | None:
    """Cut NMS away, in place, so that any runtime can run the rest.

    Where the NMS sees the best class of each box (``trtforge.graph.nms.inner``), the outputs become
    the rows before it, `predictions` with all that belongs to each box, or boxes and scores as they
    are. Else the graph's outputs become `boxes` float32 `(B, N, 4)`, in a plugin's case corners in pixels
    whatever its coding was, and `scores` float32 `(B, N, C)`, probabilities whatever its activation
    was: form "boxes-scores".

    Args:
        figures: the recipe's word on the coding, unit and order of boxes before a
            NonMaxSuppression.

    Returns:
        what was found in the stripped graph; None where `graph` has no NMS and stays as it is.

    Raises:
        ForgeError: the plugin decodes anchors or takes a box for every class; or NonMaxSuppression
            sees not all boxes and classes, so that what lies before it says less than it needs.
    """
    node = existing_nms(graph)
    if node is None:
        return None
    inner = inner_nms(graph)
    if inner and not inner.plain:
        return _cut_to(graph, inner.detection)
    boxes, scores = (
        _operator_inputs(graph, node)
        if node.op == "NonMaxSuppression"
        else plugin_inputs(graph, node)
    )
    graph.outputs = [
        name_output(graph, boxes, "boxes", None),
        name_output(graph, scores, "scores", None),
    ]
    graph.cleanup().toposort()
    detection = recognise(graph, "boxes-scores", figures)
    # ONNX's operator takes corners in any order and unit, and scores of any kind.
    standard = node.op == "NonMaxSuppression"
    if standard and recognise(graph) is None and (figures is None or figures == Decode()):
        raise ForgeError(
            f"'{node.name}' (NonMaxSuppression) is cut away, but nothing shows how its boxes are coded",
            "a recipe's decode says it: coding, unit, order, background; or --nms keep",
        )
    if detection is not None:
        count = detection.boxes or "boxes"
        graph.outputs[0].shape = [batch_dim(graph), count, 4]
        graph.outputs[1].shape = [batch_dim(graph), count, detection.classes]
    return detection


def _cut_to(graph: gs.Graph, detection: Detection) -> Detection:
    """Make a detector's tensors the graph's outputs, beside those that stay; return it with them."""
    tensors = graph.tensors()
    names = ("boxes", "scores") if len(detection.outputs) == 2 else ("predictions",)
    outputs = []
    for source, name, axis in zip(detection.outputs, names, detection.axes, strict=True):
        width = (tensors[source].shape or [None] * 3)[axis]
        shape = [batch_dim(graph), detection.boxes or "boxes", width]
        if axis == 1:
            shape[1:] = shape[:0:-1]
        outputs.append(name_output(graph, float32(graph, tensors[source]), name, shape))
    graph.outputs = [*outputs, *(tensors[name] for name in detection.kept)]
    graph.cleanup().toposort()
    return replace(detection, outputs=names)


def _operator_inputs(graph: gs.Graph, node: gs.Node) -> tuple[gs.Tensor, gs.Tensor]:
    """Return coded boxes `(B, N, 4)` and scores `(B, N, C)` before a NonMaxSuppression."""
    seen = concrete(graph)
    like = existing_nms(seen.fixed) if seen else None
    whole = like is not None and all(known(tensor) for tensor in like.inputs[:2])
    after_heads = {id(each) for each in decode(graph)}  # attention in a backbone may select as well
    selectors = {
        each.op
        for tensor in node.inputs[:2]
        for each in upstream(tensor)
        if id(each) in after_heads
    } & _SELECT
    inside = all(node is not other for other in graph.nodes)
    several = sum(each.op == "NonMaxSuppression" for each in graph.nodes) > 1
    if not whole or selectors or several or inside:
        reason = "of one class at a time" if several else "of unknown number"
        if selectors:
            reason = f"after a {min(selectors)}"
        elif inside:
            reason = "inside an If or a Loop"
        raise ForgeError(
            f"'{node.name}' (NonMaxSuppression) takes boxes {reason}, and cannot be cut away", _HINT
        )
    boxes, by_class = (float32(graph, tensor) for tensor in node.inputs[:2])
    if _integer(node, "center_point_box", 0):
        boxes = to_corners(graph, boxes)
    return boxes, add_node(graph, "Transpose", [by_class], "cut/scores", perm=[0, 2, 1])


def plugin_inputs(graph: gs.Graph, node: gs.Node) -> tuple[gs.Tensor, gs.Tensor]:
    """Return corners in pixels `(B, N, 4)` and probabilities `(B, N, C)` before a plugin."""
    seen = concrete(graph)
    twin = existing_nms(seen.fixed) if seen else None
    like = (twin or node).inputs
    shape = like[0].shape or []
    if len(node.inputs) > 2 or (len(shape) == 4 and shape[2] != 1):
        raise ForgeError(
            f"'{node.name}' ({node.op}) decodes anchors or takes one box for every class, and cannot be cut away",
            _HINT,
        )
    boxes, scores = (
        float32(graph, tensor, each.dtype) for tensor, each in zip(node.inputs, like, strict=True)
    )
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
    return boxes, _without_background(graph, node, scores, like[1])


def _without_background(
    graph: gs.Graph, node: gs.Node, scores: gs.Tensor, like: gs.Tensor
) -> gs.Tensor:
    """Set the scores of the plugin's background class to zero; class numbers stay."""
    background = _integer(node, "background_class", _integer(node, "backgroundLabelId", -1))
    if background < 0:
        return scores
    mask = np.ones(fixed_shape(like)[-1], np.float32)
    mask[background] = 0
    return add_node(graph, "Mul", [scores, mask], "cut/foreground")


def _integer(node: gs.Node, name: str, default: int) -> int:
    """Return an attribute that exporters write as a number or as a list of one."""
    return int(np.ravel(node.attrs.get(name, default))[0])
