"""Suppression by ONNX's own operators, with outputs of fixed size."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import Coding, to_corners
from trtforge.graph.edit.nodes import add_node, cast, top
from trtforge.graph.nms.options import Kept, NmsOptions


def standard_nms(
    graph: gs.Graph, boxes: gs.Tensor, scores: gs.Tensor, options: NmsOptions, coding: Coding
) -> Kept:
    """Return the plugin's outputs from operators that are the same in opsets 11 to 20.

    NonMaxSuppression lists its M survivors as rows (image, class, box), as many as there happen to
    be. They are ranked by a TopK over a table `(B, M + K)` with each survivor's score in the row of
    its image and zero elsewhere; K zero columns make it wide enough when little survives. So
    nothing dense as large as B x C x N is built but the transposed scores, and only M, which stays
    inside, depends on the data.
    """
    keep = options.max_det
    if coding == "centre":
        boxes = to_corners(graph, boxes)
    best = None
    if options.class_agnostic:
        scores, best = best_class(graph, scores)
    by_class = add_node(graph, "Transpose", [scores], "scores_by_class", perm=[0, 2, 1])
    survivors = _survivors(graph, boxes, by_class, options)
    rows = add_node(
        graph, "Concat", [survivors, np.zeros((keep, 3), np.int64)], "rows", np.int64, axis=0
    )
    score = add_node(graph, "GatherND", [by_class, survivors], "survivor_scores")
    score = add_node(graph, "Concat", [score, np.zeros(keep, np.float32)], "row_scores", axis=0)

    ranked, order = top(graph, _table(graph, boxes, rows, score), keep, axis=1)
    picked = add_node(graph, "Gather", [rows, order], "picked", np.int64, axis=0)  # (B, K, 3)
    where = add_node(
        graph, "Gather", [picked, np.array([0, 2], np.int64)], "picked_box", np.int64, axis=2
    )
    corners = add_node(graph, "GatherND", [boxes, where], "picked_corners")
    classes = (
        column(graph, picked, 1, 2, "picked_class") if best is None else lookup(graph, best, where)
    )
    return blanked(graph, ranked, corners, classes, where, keep)


def best_class(graph: gs.Graph, scores: gs.Tensor) -> tuple[gs.Tensor, gs.Tensor]:
    """Return scores `(B, N, 1)` and int64 classes `(B, N)` of each box's best class."""
    values, indices = top(graph, scores, 1, axis=2)
    return values, column(graph, indices, 0, 2, "best_class_of_box")


def _survivors(
    graph: gs.Graph, boxes: gs.Tensor, by_class: gs.Tensor, options: NmsOptions
) -> gs.Tensor:
    """Return int64 `(M, 3)`: image, class, box."""
    limits: list[gs.Tensor | np.ndarray] = [
        np.array([options.max_det], np.int64),
        np.array([options.iou], np.float32),
        np.array([options.score], np.float32),
    ]
    return add_node(
        graph,
        "NonMaxSuppression",
        [boxes, by_class, *limits],
        "survivors",
        np.int64,
        center_point_box=0,
    )


def _table(graph: gs.Graph, boxes: gs.Tensor, rows: gs.Tensor, score: gs.Tensor) -> gs.Tensor:
    """Return float32 `(B, M + K)`: each row's score where the row is the image's, else 0."""
    owner = column(graph, rows, 0, 1, "row_image")
    mine = add_node(graph, "Equal", [images(graph, boxes), owner], "row_is_mine", np.bool_)
    return add_node(graph, "Where", [mine, score, np.array(0, np.float32)], "table")


def images(graph: gs.Graph, boxes: gs.Tensor) -> gs.Tensor:
    """Return int64 `(B, 1)`: the number of each image in the batch."""
    shape = add_node(graph, "Shape", [boxes], "shape", np.int64)
    batch = add_node(graph, "Gather", [shape, np.array(0, np.int64)], "batch", np.int64, axis=0)
    bounds: list[gs.Tensor | np.ndarray] = [np.array(0, np.int64), batch, np.array(1, np.int64)]
    numbers = add_node(graph, "Range", bounds, "images", np.int64)
    return add_node(
        graph, "Reshape", [numbers, np.array([-1, 1], np.int64)], "images_down", np.int64
    )


def blanked(
    graph: gs.Graph,
    scores: gs.Tensor,
    corners: gs.Tensor,
    classes: gs.Tensor,
    where: gs.Tensor,
    rows: int,
) -> Kept:
    """Return the outputs with zeros where the score is zero, which no survivor's score is."""
    valid = add_node(graph, "Greater", [scores, np.array(0, np.float32)], "valid", np.bool_)
    boxes = blank(graph, corners, valid, "boxes_blanked")
    narrow = cast(graph, classes, np.int32, "classes_int32")
    narrow = add_node(
        graph, "Where", [valid, narrow, np.array(0, np.int32)], "classes_blanked", np.int32
    )
    total = _sum_rows(graph, cast(graph, valid, np.float32, "valid_float"))
    return Kept((cast(graph, total, np.int32, "count"), boxes, scores, narrow), where, valid, rows)


def blank(graph: gs.Graph, rows: gs.Tensor, valid: gs.Tensor, name: str) -> gs.Tensor:
    """Return rows `(B, K, E)` with zeros where `valid` `(B, K)` is false."""
    down = add_node(
        graph, "Reshape", [valid, np.array([0, -1, 1], np.int64)], "valid_down", np.bool_
    )
    return add_node(graph, "Where", [down, rows, np.array(0, np.float32)], name)


def _sum_rows(graph: gs.Graph, tensor: gs.Tensor) -> gs.Tensor:
    """Sum rows `(B, K)` to `(B, 1)`; from opset 13 on, ReduceSum takes its axes as an input."""
    if graph.opset >= 13:
        return add_node(graph, "ReduceSum", [tensor, np.array([1], np.int64)], "total", keepdims=1)
    return add_node(graph, "ReduceSum", [tensor], "total", axes=[1], keepdims=1)


def column(graph: gs.Graph, tensor: gs.Tensor, index: int, axis: int, name: str) -> gs.Tensor:
    """Return one int64 column, without its axis."""
    return add_node(graph, "Gather", [tensor, np.array(index, np.int64)], name, np.int64, axis=axis)


def lookup(graph: gs.Graph, table: gs.Tensor, where: gs.Tensor) -> gs.Tensor:
    """Return int64 entries of `table` at the index rows `where`."""
    return add_node(graph, "GatherND", [table, where], "picked_class", np.int64)
