"""Outputs of a model that ends in one feature map for each level of its pyramid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.grid import STRIDES, cells_of, rows_and_columns
from trtforge.graph.detection.records import Detection, Size
from trtforge.graph.edit.nodes import add_node, float32
from trtforge.graph.tensors import fixed_shape


@dataclass(frozen=True)
class Level:
    """One map.

    Attributes:
        tensor: `(B, channels, H / stride, W / stride)`, or `(B, anchors, H / stride, W / stride,
            channels)`, or rows `(B, cells, channels)`.
        stride: pixels between its cells.
        axis: on which the channels of a map or of rows lie.
    """

    tensor: gs.Tensor
    stride: int
    axis: int = 1

    @property
    def channels(self) -> int:
        return int(fixed_shape(self.tensor)[self.axis])

    @property
    def cells(self) -> int:
        shape = fixed_shape(self.tensor)
        return int(shape[1] if self.axis == 2 else np.prod(shape[2:]))


def levels(shaped: ConcreteGraph, rank: int) -> list[Level]:
    """Return the outputs of a rank that are maps of cells of a whole stride, finest first."""
    found = []
    for tensor in shaped.outputs(rank):
        stride = round(shaped.size[1] / fixed_shape(tensor)[3])
        if stride >= 4 and list(rows_and_columns(shaped.size, stride)) == fixed_shape(tensor)[2:4]:
            found.append(Level(tensor, stride))
    return sorted(found, key=lambda level: level.stride)


def flat_levels(shaped: ConcreteGraph) -> list[Level]:
    """Return the outputs `(B, cells, channels)` with a row for each cell of a stride, finest first."""
    strides = {cells_of(shaped.size, stride): stride for stride in reversed(STRIDES)}
    found = [
        Level(tensor, strides[fixed_shape(tensor)[1]], axis=2)
        for tensor in shaped.outputs(3)
        if fixed_shape(tensor)[1] in strides
    ]
    return sorted(found, key=lambda level: level.stride)


def shown(found: list[Level]) -> str:
    """Return the names and shapes of the levels' maps as text."""
    return ", ".join(
        f"{level.tensor.name} [B, {', '.join(map(str, fixed_shape(level.tensor)[1:]))}]"
        for level in found
    )


def cell_rows(graph: gs.Graph, tensor: gs.Tensor, width: int) -> gs.Tensor:
    """Return a map `(B, anchors * width, H, W)` as rows `(B, H * W * anchors, width)`."""
    last = add_node(graph, "Transpose", [float32(graph, tensor)], "cells", perm=[0, 2, 3, 1])
    return add_node(graph, "Reshape", [last, np.array([0, -1, width], np.int64)], "rows")


def size_of(detection: Detection) -> Size:
    """Return the input's height and width.

    Raises:
        ForgeError: the size is dynamic; the cells' places become constants of the graph.
    """
    if detection.size is None:
        raise ForgeError(
            "the height or width of the input is dynamic, and the places of its cells depend on it",
            "fix them with --size HxW",
        )
    return detection.size


def constant(values: Any) -> np.ndarray:
    """Return an array `(N, E)` as `(1, N, E)`, float32."""
    array: np.ndarray = np.asarray(values, np.float32)[None]
    return array
