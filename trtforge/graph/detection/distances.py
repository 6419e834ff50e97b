"""Form "distances": the raw maps of YOLOv6, YOLOv8 and later, before a box is made of them.

For each level `(B, 4 * bins + C, H, W)`, or a map of `4 * bins` channels and one of C, or rows
`(B, H * W, 4 * bins)` and `(B, H * W, C)` (PicoDet); or all levels in one tensor
`(B, 4 * bins + C, N)`. A side's distance from the cell's centre, in cells, is
the mean of a distribution over `bins` (DFL, arXiv 2006.04388), or with one bin the value itself
(YOLOv6-N and -S, YOLO26).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded
from trtforge.graph.detection.grid import grid_of, points
from trtforge.graph.detection.levels import (
    Level,
    cell_rows,
    constant,
    flat_levels,
    levels,
    shown,
    size_of,
)
from trtforge.graph.detection.records import Detection, Geometry
from trtforge.graph.detection.sources import operations, sources
from trtforge.graph.edit.nodes import add_node, channels, float32
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "distances"
_BINS = (16, 8)
_SEQUENCES = {"Softmax", "LogSoftmax", "MatMul", "Gemm", "LSTM", "GRU", "LayerNormalization"}
_WHICH = "head: distances (with decode.bins) in a recipe of yours: maps of a detector look like any other feature maps"


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield maps, or pairs of maps, for several levels, with 16 bins a side or PicoDet's 8."""
    sequences = {tensor.name for tensor in shaped.outputs(3) if _in_steps(tensor)}
    for bins in _BINS:
        likely = [
            replace(found, sure="likely", ask=_WHICH)
            for found in hinted(shaped, FORM, Decode(bins=bins))
            if found.axes[0] == 2 or not sequences & set(found.outputs)
        ]
        if likely:
            yield from likely
            return


def _in_steps(tensor: gs.Tensor) -> bool:
    """Tell whether axis 1 holds the steps of a sequence, such as columns of text, and no channels."""
    found = sources(tensor, 1, 0, fixed_shape(tensor)[1])
    ops = operations(found) | {
        producer.op
        for source in found
        if source.node.op == "Add"
        for operand in source.node.inputs
        for producer in operand.inputs
    }
    return bool(ops & _SEQUENCES) or any(source.axis != 1 for source in found)


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the maps, or the one tensor, that have the channels for the recipe's bins."""
    width = 4 * decode.bins
    for found in (levels(shaped, 4), flat_levels(shaped)):
        by_stride = [list(group) for _, group in groupby(found, key=lambda level: level.stride)]
        pairs = [sorted(group, key=lambda level: level.channels != width) for group in by_stride]
        for groups in ([group[:1] for group in pairs], pairs):
            classes = {_classes(group, width) for group in groups}
            if len(groups) > 1 and len(classes) == 1 and None not in classes:
                yield _maps(shaped, groups, classes.pop() or 0, decode)
                return
    for tensor in shaped.outputs(3):
        grid = grid_of(fixed_shape(tensor)[2], shaped.size)
        if grid and grid[0] == 1 and fixed_shape(tensor)[1] > width and decode.bins > 1:
            yield _one(shaped, tensor, int(fixed_shape(tensor)[1]) - width, decode, grid[1])


def _classes(group: list[Level], width: int) -> int | None:
    first = group[0].channels
    if len(group) == 1:
        return first - width if first > width else None
    return group[1].channels if len(group) == 2 and first == width else None


def _maps(
    shaped: ConcreteGraph, groups: list[list[Level]], classes: int, decode: Decode
) -> Detection:
    flat = [level for group in groups for level in group]
    strides = tuple(group[0].stride for group in groups)
    last = groups[0][-1]
    kinds = sources(last.tensor, last.axis, last.channels - classes, last.channels)
    text = f"{shown(flat)} are {FORM} of stride {', '.join(map(str, strides))} with {overrides.count(classes, 'class')}"
    return Detection(
        FORM,
        tuple(level.tensor.name for level in flat),
        tuple(level.axis for level in flat),
        Geometry("corners"),
        sum(group[0].cells for group in groups),
        classes,
        shaped.size,
        text,
        "told",
        activation=overrides.activation(decode, kinds, "sigmoid"),
        decode=decode.model_copy(update={"strides": strides}),
    )


def _one(
    shaped: ConcreteGraph, tensor: gs.Tensor, classes: int, decode: Decode, strides: tuple[int, ...]
) -> Detection:
    text = f"{tensor.name} {overrides.shown(tensor)} is {FORM} with {overrides.count(classes, 'class')}"
    kinds = sources(tensor, 1, 4 * decode.bins, fixed_shape(tensor)[1])
    return Detection(
        FORM,
        (tensor.name,),
        (1,),
        Geometry("corners"),
        int(fixed_shape(tensor)[2]),
        classes,
        shaped.size,
        text,
        "told",
        activation=overrides.activation(decode, kinds, "sigmoid"),
        decode=decode.model_copy(update={"strides": strides}),
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that turn distances from the cells' centres into corners in pixels."""
    figures = detection.decode
    width, classes = 4 * figures.bins, detection.classes or 0
    table = _table(graph, detection, width, classes)
    sides = _means(graph, channels(graph, table, 0, width, "bins"), figures.bins)
    at, steps = points(size_of(detection), figures.strides)
    cells = at / steps
    low = add_node(
        graph, "Sub", [constant(cells), channels(graph, sides, 0, 2, "near_sides")], "low_corner"
    )
    high = add_node(
        graph, "Add", [constant(cells), channels(graph, sides, 2, 4, "far_sides")], "high_corner"
    )
    corners = add_node(graph, "Concat", [low, high], "corners", axis=2)
    boxes = add_node(graph, "Mul", [corners, constant(steps)], "boxes")
    scores = channels(graph, table, width, width + classes, "class_channels")
    if detection.activation == "sigmoid":
        scores = add_node(graph, "Sigmoid", [scores], "probabilities")
    return Decoded(boxes, "corners", scores, {})


def _table(graph: gs.Graph, detection: Detection, width: int, classes: int) -> gs.Tensor:
    """Return the rows of all levels, `(B, N, 4 * bins + C)`."""
    tensors = [graph.tensors()[name] for name in detection.outputs]
    count = len(detection.decode.strides)
    if len(tensors) == 1:
        return add_node(graph, "Transpose", [float32(graph, tensors[0])], "rows", perm=[0, 2, 1])
    if len(tensors) == count:
        parts = [_rows(graph, tensor, width + classes, detection) for tensor in tensors]
        return add_node(graph, "Concat", parts, "rows_of_all_levels", axis=1)
    halves = []
    for part, channels_of in ((tensors[0::2], width), (tensors[1::2], classes)):
        parts = [_rows(graph, tensor, channels_of, detection) for tensor in part]
        halves.append(add_node(graph, "Concat", parts, "rows_of_all_levels", axis=1))
    return add_node(graph, "Concat", halves, "rows", axis=2)


def _rows(graph: gs.Graph, tensor: gs.Tensor, width: int, detection: Detection) -> gs.Tensor:
    """Return a level as rows `(B, H * W, width)`."""
    if detection.axes[0] == 2:
        return float32(graph, tensor)
    return cell_rows(graph, tensor, width)


def _means(graph: gs.Graph, bins: gs.Tensor, count: int) -> gs.Tensor:
    """Return the mean of each side's distribution in cells: `(B, N, 4 * bins)` to `(B, N, 4)`.

    A convolution, and not a MatMul, which TensorRT computes in TF32; of four groups, so that no
    side reads another's.
    """
    if count == 1:
        return bins
    cells = add_node(graph, "Transpose", [bins], "bins_first", perm=[0, 2, 1])
    apart = add_node(
        graph, "Reshape", [cells, np.array([0, 4, count, -1], np.int64)], "sides_apart"
    )
    apart = add_node(graph, "Transpose", [apart], "bins_as_channels", perm=[0, 2, 1, 3])
    shares = add_node(graph, "Softmax", [apart], "distribution", axis=1)
    weights = np.arange(count, dtype=np.float32).reshape(1, count, 1, 1)
    mean = add_node(graph, "Conv", [shares, weights], "mean_distance", kernel_shape=[1, 1])
    flat = add_node(graph, "Reshape", [mean, np.array([0, 4, -1], np.int64)], "distances")
    return add_node(graph, "Transpose", [flat], "distances_in_rows", perm=[0, 2, 1])
