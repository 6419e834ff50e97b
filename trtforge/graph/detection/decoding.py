"""The steps that decodes share: nodes that give boxes in pixels, and scores between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection.records import Coding, Detection
from trtforge.graph.edit.nodes import add_node, channels, float32


@dataclass(frozen=True)
class Decoded:
    """Tensors of a detector, all float32.

    Attributes:
        boxes: `(B, N, 4)` in pixels of the network's input, x before y.
        coding: of the boxes.
        scores: `(B, N, C)`, final.
        extras: `(B, N, channels)`, by name.
    """

    boxes: gs.Tensor
    coding: Coding
    scores: gs.Tensor
    extras: dict[str, gs.Tensor]


def rows(graph: gs.Graph, detection: Detection, index: int) -> gs.Tensor:
    """Return an output as rows `(B, N, channels)`, float32."""
    tensor = float32(graph, graph.tensors()[detection.outputs[index]])
    axis = detection.axes[index]
    if axis == 3:  # boxes of (B, N, 1, 4)
        return add_node(graph, "Reshape", [tensor, np.array([0, -1, 4], np.int64)], "rows")
    return add_node(graph, "Transpose", [tensor], "rows", perm=[0, 2, 1]) if axis == 1 else tensor


def in_pixels(graph: gs.Graph, boxes: gs.Tensor, detection: Detection) -> gs.Tensor:
    """Return boxes with x before y, in pixels where they were fractions of the input's sides.

    Raises:
        ForgeError: they are fractions of an unknown size.
    """
    if detection.geometry.order == "yx":
        boxes = add_node(
            graph, "Gather", [boxes, np.array([1, 0, 3, 2], np.int64)], "boxes_xy", axis=2
        )
    if detection.geometry.unit == "pixels":
        return boxes
    if detection.size is None:
        raise ForgeError(
            "the boxes are fractions of an input whose height or width is dynamic",
            "fix them with --size HxW",
        )
    height, width = detection.size
    return add_node(
        graph, "Mul", [boxes, np.array([width, height] * 2, np.float32)], "boxes_in_pixels"
    )


def final_scores(graph: gs.Graph, scores: gs.Tensor, detection: Detection) -> gs.Tensor:
    """Return scores `(B, N, C)` after their activation and without the background."""
    if detection.activation == "sigmoid":
        scores = add_node(graph, "Sigmoid", [scores], "probabilities")
    elif detection.activation == "softmax":
        scores = add_node(graph, "Softmax", [scores], "probabilities", axis=2)
    if detection.background is None:
        return scores
    first = 1 if detection.background == "first" else 0
    return channels(graph, scores, first, first + (detection.classes or 0), "foreground")


def extras(graph: gs.Graph, tensors: list[gs.Tensor], detection: Detection) -> dict[str, gs.Tensor]:
    """Return the detection's extras as slices of its rows."""
    return {
        each.name: channels(graph, tensors[each.output], each.low, each.high, each.name)
        for each in detection.extras
    }


def to_corners(graph: gs.Graph, boxes: gs.Tensor) -> gs.Tensor:
    """Convert boxes `(B, N, 4)` from cx, cy, w, h to x1, y1, x2, y2.

    Not a MatMul with a 4x4 matrix, which would be shorter: TensorRT multiplies matrices in TF32,
    good to about a
    third of a pixel at 640.
    """
    centre = channels(graph, boxes, 0, 2, "centre")
    half = add_node(
        graph, "Mul", [channels(graph, boxes, 2, 4, "extent"), np.array(0.5, np.float32)], "half"
    )
    low = add_node(graph, "Sub", [centre, half], "low_corner")
    high = add_node(graph, "Add", [centre, half], "high_corner")
    return add_node(graph, "Concat", [low, high], "corners", axis=2)


def corners_of(graph: gs.Graph, decoded: Decoded) -> gs.Tensor:
    """Return the decoded boxes as corners `(B, N, 4)`."""
    return decoded.boxes if decoded.coding == "corners" else to_corners(graph, decoded.boxes)
