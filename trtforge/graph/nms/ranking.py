"""Rank the detections of models whose boxes do not overlap: nothing has to be suppressed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import Decoded, Detection, corners_of
from trtforge.graph.edit.nodes import add_node, cast, top
from trtforge.graph.nms.options import Kept, NmsOptions
from trtforge.graph.nms.standard import best_class, blanked, column, images, lookup


def rank(graph: gs.Graph, decoded: Decoded, detection: Detection, options: NmsOptions) -> Kept:
    """Return the K best detections; those with no more than the score threshold are blanked.

    Independent classes (a Sigmoid each) are ranked all together, so that a query may count under
    two classes, as RT-DETR and D-FINE do it; classes of a Softmax exclude each other, and
    `class_agnostic` makes them: a query then counts under its best class.
    """
    boxes = corners_of(graph, decoded)
    if "class" in decoded.extras:
        known = cast(graph, decoded.extras["class"], np.int64, "known_classes")
        scores, best = decoded.scores, column(graph, known, 0, 2, "class_of_box")
    elif options.class_agnostic or detection.activation == "softmax":
        scores, best = best_class(graph, decoded.scores)
    else:
        scores, best = decoded.scores, None
    columns = 1 if best is not None else detection.classes or 1
    flat = add_node(graph, "Reshape", [scores, np.array([0, -1], np.int64)], "flat_scores")
    keep = min(options.max_det, columns * (detection.boxes or options.max_det))
    ranked, order = top(graph, flat, keep, axis=1)
    width = np.array(columns, np.int64)
    box = add_node(graph, "Div", [order, width], "box_of_rank", np.int64) if columns > 1 else order
    where = with_image(graph, boxes, box)
    if best is not None:
        classes = lookup(graph, best, where)
    else:
        before = add_node(graph, "Mul", [box, width], "ranks_before", np.int64)
        classes = add_node(graph, "Sub", [order, before], "class_of_rank", np.int64)
    above = add_node(
        graph, "Greater", [ranked, np.array(options.score, np.float32)], "above", np.bool_
    )
    scores = add_node(graph, "Where", [above, ranked, np.array(0, np.float32)], "scores_above")
    corners = add_node(graph, "GatherND", [boxes, where], "picked_corners")
    return blanked(graph, scores, corners, classes, where, keep)


def only_best_class(graph: gs.Graph, decoded: Decoded, classes: int) -> Decoded:
    """Set every score of a box to zero but that of its best class; of equal ones the first is best.

    Args:
        classes: C, of the scores `(B, N, C)`.
    """
    best = add_node(graph, "ArgMax", [decoded.scores], "best_class", np.int64, axis=2, keepdims=1)
    every = np.arange(classes, dtype=np.int64).reshape(1, 1, classes)
    is_best = add_node(graph, "Equal", [best, every], "is_best_class", np.bool_)
    zero = np.array(0, np.float32)
    scores = add_node(graph, "Where", [is_best, decoded.scores, zero], "best_class_scores")
    return replace(decoded, scores=scores)


def with_image(graph: gs.Graph, boxes: gs.Tensor, box: gs.Tensor) -> gs.Tensor:
    """Return int64 `(B, K, 2)`: image and box, from the boxes `(B, K)`."""
    nothing = add_node(graph, "Mul", [box, np.array(0, np.int64)], "no_boxes", np.int64)
    image = add_node(graph, "Add", [images(graph, boxes), nothing], "image_of_rank", np.int64)
    down = np.array([0, -1, 1], np.int64)
    pair = [add_node(graph, "Reshape", [each, down], "down", np.int64) for each in (image, box)]
    return add_node(graph, "Concat", pair, "picked_box", np.int64, axis=2)
