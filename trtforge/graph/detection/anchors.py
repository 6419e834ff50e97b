"""Form "yolo-anchors": the raw maps of YOLOv3, YOLOv4, YOLOv5 and YOLOv7, one for each level.

`(B, anchors * (5 + C), H, W)`, or `(B, anchors, H, W, 5 + C)`, before or after its Sigmoid. The
anchors are not in the graph: the recipe gives them. For a cell at column x of stride s, an anchor
of width a, and t = sigmoid(raw)::

    centre = (x + 0.5 + scale * (t - 0.5)) * s
    width = a * exp(raw)    YOLOv3, YOLOv4 (arXiv 1804.02767, 2004.10934)
    width = a * (2 t)^2     YOLOv5, YOLOv7 (arXiv 2207.02696)

``scale`` is 1 in YOLOv3, 1.05 to 1.2 in YOLOv4, and 2 in YOLOv5 and YOLOv7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded, extras
from trtforge.graph.detection.grid import points
from trtforge.graph.detection.levels import Level, cell_rows, constant, levels, shown, size_of
from trtforge.graph.detection.records import Detection, Geometry
from trtforge.graph.detection.sources import sources
from trtforge.graph.edit.nodes import add_node, channels, float32
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "yolo-anchors"
_USUAL_ANCHORS = 3  # of a cell
_FIRST_CLASS = 5  # channel of the first class, after the box and the objectness
_RECIPE_HINT = (
    "--recipe yolov5, yolov7 or another whose head is yolo-anchors: the anchors are not in the "
    "graph"
)


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield the raw maps that look like YOLO's with three anchors in each cell."""
    for maps in (levels(shaped, 5), levels(shaped, 4)):
        widths = {_width(level, _USUAL_ANCHORS) for level in maps}
        strides = [level.stride for level in maps]
        if (
            len(maps) > 1
            and len(widths) == 1
            and (widths.pop() or 0) > _FIRST_CLASS
            and len(set(strides)) == len(strides)
        ):
            yield replace(
                _detection(shaped, maps, _USUAL_ANCHORS, Decode(), ""),
                sure="likely",
                ask=_RECIPE_HINT,
            )


def _width(level: Level, anchors: int) -> int | None:
    """Return the channels of one anchor, 5 + C; None where the map has no such division."""
    shape = fixed_shape(level.tensor)
    if len(shape) == 5:
        return shape[4] if shape[1] == anchors else None
    return shape[1] // anchors if shape[1] % anchors == 0 else None


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the maps that fit the recipe's anchors.

    Raises:
        ForgeError: the levels have different numbers of anchors.
    """
    counts = {len(level) for level in decode.anchors}
    if len(counts) != 1:
        raise ForgeError(
            f"head {FORM} needs the same number of anchors in every level",
            "list them under decode.anchors, finest first",
        )
    anchors = counts.pop()
    for maps in (levels(shaped, 5), levels(shaped, 4)):
        found = [level for level in maps if (_width(level, anchors) or 0) > _FIRST_CLASS]
        if (
            len(found) == len(decode.anchors)
            and len({_width(level, anchors) for level in found}) == 1
        ):
            yield _detection(shaped, found, anchors, decode, ": the recipe says so")


def _detection(
    shaped: ConcreteGraph, found: list[Level], anchors: int, decode: Decode, why: str
) -> Detection:
    width = _width(found[0], anchors) or 0
    end = width - sum(decode.extra.values())
    classes = end - _FIRST_CLASS
    boxes = sum(anchors * int(np.prod(fixed_shape(level.tensor)[2:4])) for level in found)
    axis = 4 if len(fixed_shape(found[0].tensor)) == 5 else 1  # of the channels
    steps = ", ".join(str(level.stride) for level in found)
    first = found[0].tensor
    activation = overrides.activation(
        decode, sources(first, axis, 0, fixed_shape(first)[axis]), "sigmoid"
    )
    text = (
        f"{shown(found)} are {FORM} of stride {steps} with {overrides.count(classes, 'class')}{why}"
    )
    names, strides = zip(*((level.tensor.name, level.stride) for level in found), strict=True)
    return Detection(
        FORM,
        names,
        (axis,) * len(found),
        Geometry(),
        boxes,
        classes,
        shaped.size,
        text,
        "told",
        activation=activation,
        extras=overrides.extras(decode, end),
        decode=decode.model_copy(update={"strides": strides}),
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add the decode of the maps with the recipe's anchors.

    Raises:
        ForgeError: the recipe's figures don't fit the maps, or the input's size is dynamic.
    """
    size, figures = size_of(detection), detection.decode
    scales = (
        figures.xy_scale
        if isinstance(figures.xy_scale, tuple)
        else (figures.xy_scale,) * len(figures.anchors)
    )
    if len(scales) != len(figures.anchors):
        raise ForgeError(
            f"decode.xy_scale has {len(scales)} values for {len(figures.anchors)} levels",
            "give one value for each level",
        )
    tensors = [graph.tensors()[name] for name in detection.outputs]
    table = add_node(
        graph, "Concat", [_rows(graph, detection, tensor) for tensor in tensors], "all_rows", axis=1
    )
    per_cell = len(figures.anchors[0])
    cell_first = detection.axes[0] == 1
    # Lists with one array for each level.
    places, steps, sizes, factors = [], [], [], []
    for stride, anchors, factor in zip(figures.strides, figures.anchors, scales, strict=True):
        centres, cell_strides = points(size, [stride])
        centre_rows, size_rows = _cells_by_anchors(centres, np.array(anchors), cell_first)
        places.append(centre_rows)
        steps.append(cell_strides.repeat(per_cell, 0))  # the same stride in every row of a level
        sizes.append(size_rows)
        factors.append(np.full((len(centre_rows), 1), factor))
    probabilities = table
    if detection.activation == "sigmoid":
        probabilities = add_node(graph, "Sigmoid", [table], "probabilities")
    elif figures.extent == "exp":
        raise ForgeError(
            "the outputs have a Sigmoid, and decode.extent exp needs the values before it",
            "cut the graph before the Sigmoid with a patch of kind cut",
        )
    reach = np.concatenate(factors) * np.concatenate(steps)
    # (t - 0.5) * reach + place, as one multiplication and one addition
    moved = add_node(
        graph, "Mul", [channels(graph, probabilities, 0, 2, "offset"), constant(reach)], "moved"
    )
    centre = add_node(
        graph, "Add", [moved, constant(np.concatenate(places) - 0.5 * reach)], "centre"
    )
    extent = _extent(graph, table, probabilities, np.concatenate(sizes), figures)
    boxes = add_node(graph, "Concat", [centre, extent], "boxes", axis=2)
    objectness = channels(graph, probabilities, _FIRST_CLASS - 1, _FIRST_CLASS, "objectness")
    classes = channels(
        graph,
        probabilities,
        _FIRST_CLASS,
        _FIRST_CLASS + (detection.classes or 0),
        "class_channels",
    )
    scores = add_node(graph, "Mul", [objectness, classes], "scores")
    return Decoded(boxes, "centre", scores, extras(graph, [table], detection))


def _cells_by_anchors(
    centres: np.ndarray, anchors: np.ndarray, cell_first: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the anchor of each row of a level, both (cells * anchors, 2).

    Args:
        centres: centres of the cells, (cells, 2).
        anchors: widths and heights of the anchors, (anchors, 2).
        cell_first: the anchors of a cell are neighbours; else the cells of an anchor are.
    """
    if cell_first:
        return centres.repeat(len(anchors), 0), np.tile(anchors, (len(centres), 1))
    return np.tile(centres, (len(anchors), 1)), anchors.repeat(len(centres), 0)


def _rows(graph: gs.Graph, detection: Detection, tensor: gs.Tensor) -> gs.Tensor:
    width = (
        _FIRST_CLASS
        + (detection.classes or 0)
        + sum(extra.high - extra.low for extra in detection.extras)
    )
    if detection.axes[0] == 1:
        return cell_rows(graph, tensor, width)
    return add_node(
        graph, "Reshape", [float32(graph, tensor), np.array([0, -1, width], np.int64)], "rows"
    )


def _extent(
    graph: gs.Graph, raw: gs.Tensor, probabilities: gs.Tensor, sizes: np.ndarray, figures: Decode
) -> gs.Tensor:
    if figures.extent == "exp":
        grown = add_node(graph, "Exp", [channels(graph, raw, 2, 4, "log_extent")], "grown")
        return add_node(graph, "Mul", [grown, constant(sizes)], "extent")
    part = channels(graph, probabilities, 2, 4, "half_extent")
    square = add_node(graph, "Mul", [part, part], "square")
    return add_node(graph, "Mul", [square, constant(4 * sizes)], "extent")
