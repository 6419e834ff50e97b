"""Suppression of boxes that are turned: from standard operators, of fixed size.

NonMaxSuppression and EfficientNMS know upright boxes only, and upright boxes around two ships side
by side overlap where the ships do not. So the overlap is that of the models' own post-processing: 1
minus the Hellinger distance of two Gaussians with the boxes' covariances ("ProbIoU", arXiv
2106.06072), of which training and published figures are.

Only the best `CANDIDATES` of an image enter: a table of all pairs is built. A candidate stays if no
better one of its class overlaps it, whether that one stays or not ("Fast NMS", arXiv 1904.02689):
that, too, is what the models' own post-processing does, and it needs no loop.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import Decoded, Detection
from trtforge.graph.detection.decoding import to_corners
from trtforge.graph.edit.nodes import add_node, channels, top
from trtforge.graph.nms.options import Kept, NmsOptions
from trtforge.graph.nms.ranking import with_image
from trtforge.graph.nms.standard import best_class, blanked, lookup

CANDIDATES = 1024  # best of an image, over all classes; with them a table of pairs is 4 MB
_EPS = np.array(1e-7, np.float32)


def oriented_nms(
    graph: gs.Graph, decoded: Decoded, detection: Detection, options: NmsOptions
) -> Kept:
    """Suppress rotated boxes; the output boxes are not rotated, and the angle is an extra."""
    scores, best, columns = decoded.scores, None, detection.classes or 1
    if options.class_agnostic:
        scores, best = best_class(graph, scores)
        columns = 1
    flat = add_node(graph, "Reshape", [scores, np.array([0, -1], np.int64)], "flat_scores")
    count = min(CANDIDATES, columns * (detection.boxes or CANDIDATES))
    ranked, order = top(graph, flat, count, axis=1)
    width = np.array(columns, np.int64)
    box = add_node(graph, "Div", [order, width], "candidate_box", np.int64)
    candidate_class = add_node(
        graph,
        "Sub",
        [order, add_node(graph, "Mul", [box, width], "before", np.int64)],
        "own",
        np.int64,
    )
    where = with_image(graph, decoded.boxes, box)
    boxes = add_node(graph, "GatherND", [decoded.boxes, where], "candidates")
    angle = add_node(graph, "GatherND", [decoded.extras["angle"], where], "candidate_angles")

    hides = _hides(graph, overlap(graph, boxes, angle), candidate_class, options, count)
    above = add_node(
        graph, "Greater", [ranked, np.array(options.score, np.float32)], "above", np.bool_
    )
    above = _float(graph, above, "above_float")
    stays = _unhidden(graph, hides, above)
    scores = add_node(graph, "Mul", [ranked, stays], "scores_of_those_that_stay")
    keep = min(options.max_det, count)
    final, rows = top(graph, scores, keep, axis=1)
    at = with_image(graph, decoded.boxes, rows)
    picked = add_node(graph, "GatherND", [where, at], "picked_box", np.int64)
    corners = to_corners(
        graph, add_node(graph, "GatherND", [decoded.boxes, picked], "picked_boxes")
    )
    classes = lookup(graph, candidate_class, at) if best is None else lookup(graph, best, picked)
    return blanked(graph, final, corners, classes, picked, keep)


def overlap(graph: gs.Graph, boxes: gs.Tensor, angle: gs.Tensor) -> gs.Tensor:
    """Return ProbIoU `(B, K, K)` of boxes `(B, K, 4)` as centres, with angles `(B, K, 1)`."""

    def calc(op: str, *inputs: gs.Tensor | np.ndarray) -> gs.Tensor:
        return add_node(graph, op, list(inputs), f"overlap/{op.lower()}")

    x, y, w, h = (channels(graph, boxes, index, index + 1, "part") for index in range(4))
    twelfth, four = np.array(1 / 12, np.float32), np.array(4, np.float32)
    along, across = (calc("Mul", calc("Mul", side, side), twelfth) for side in (w, h))
    cos, sin = calc("Cos", angle), calc("Sin", angle)
    cos2, sin2, both = calc("Mul", cos, cos), calc("Mul", sin, sin), calc("Mul", cos, sin)
    a = calc("Add", calc("Mul", along, cos2), calc("Mul", across, sin2))
    b = calc("Add", calc("Mul", along, sin2), calc("Mul", across, cos2))
    c = calc("Mul", calc("Sub", along, across), both)
    determinant = calc("Mul", along, across)  # of a box's own covariance, whatever its angle

    def pair(op: str, column: gs.Tensor) -> gs.Tensor:
        return calc(
            op, column, add_node(graph, "Transpose", [column], "overlap/other", perm=[0, 2, 1])
        )

    dx, dy = pair("Sub", x), pair("Sub", y)
    a, b, c = pair("Add", a), pair("Add", b), pair("Add", c)
    whole = calc("Sub", calc("Mul", a, b), calc("Mul", c, c))
    spread = calc("Add", calc("Mul", a, calc("Mul", dy, dy)), calc("Mul", b, calc("Mul", dx, dx)))
    skew = calc("Mul", calc("Mul", c, calc("Mul", dx, dy)), np.array(2, np.float32))
    far = calc("Div", calc("Sub", spread, skew), calc("Mul", calc("Add", whole, _EPS), four))
    unlike = calc(
        "Div", whole, calc("Add", calc("Mul", calc("Sqrt", pair("Mul", determinant)), four), _EPS)
    )
    unlike = calc("Mul", calc("Log", calc("Add", unlike, _EPS)), np.array(0.5, np.float32))
    distance = calc("Max", calc("Add", far, unlike), _EPS)
    hellinger = calc(
        "Sqrt",
        calc("Add", calc("Sub", np.array(1, np.float32), calc("Exp", calc("Neg", distance))), _EPS),
    )
    return calc("Sub", np.array(1, np.float32), hellinger)


def _hides(
    graph: gs.Graph, overlaps: gs.Tensor, classes: gs.Tensor, options: NmsOptions, count: int
) -> gs.Tensor:
    """Return `(B, K, K)`: 1 where the column's candidate is better and overlaps the row's too much."""
    much = add_node(
        graph, "Greater", [overlaps, np.array(options.iou, np.float32)], "overlaps_much", np.bool_
    )
    down, across = (
        add_node(graph, "Reshape", [classes, np.array(shape, np.int64)], "classes", np.int64)
        for shape in ((0, -1, 1), (0, 1, -1))
    )
    same = add_node(graph, "Equal", [down, across], "same_class", np.bool_)
    rivals = _float(graph, add_node(graph, "And", [much, same], "rivals", np.bool_), "rivals_float")
    better = np.tril(np.ones((count, count), np.float32), -1)[None]
    return add_node(graph, "Mul", [rivals, better], "hides")


def _unhidden(graph: gs.Graph, hides: gs.Tensor, above: gs.Tensor) -> gs.Tensor:
    """Return float32 `(B, K)`: 1 for the boxes above the threshold that no better one hides."""
    column = add_node(graph, "Reshape", [above, np.array([0, -1, 1], np.int64)], "above_column")
    hidden = add_node(graph, "MatMul", [hides, column], "hidden_by")
    hidden = add_node(graph, "Reshape", [hidden, np.array([0, -1], np.int64)], "hidden_by_row")
    free = add_node(graph, "Less", [hidden, np.array(0.5, np.float32)], "free", np.bool_)
    return add_node(graph, "Mul", [_float(graph, free, "free_float"), above], "stays")


def _float(graph: gs.Graph, tensor: gs.Tensor, name: str) -> gs.Tensor:
    return add_node(graph, "Cast", [tensor], name, to=1)
