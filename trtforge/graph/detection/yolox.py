"""Form "yolox-raw": YOLOX as its exporter writes it: scores after Sigmoids, boxes not decoded.

Rows `(B, N, 5 + C)` of x, y, log w, log h, objectness, classes, one for each cell of stride 8, 16
and 32. In pixels::

    centre = (column + x) * stride      extent = exp(log w) * stride          (arXiv 2107.08430)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded, rows
from trtforge.graph.detection.grid import evidence, grid_of, points
from trtforge.graph.detection.levels import constant, size_of
from trtforge.graph.detection.records import Detection, Geometry
from trtforge.graph.detection.sources import ARITHMETIC, operations, overlap, probabilities, sources
from trtforge.graph.edit.nodes import add_node, channels
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "yolox-raw"
_ROW = 5
_WHICH = (
    "--recipe yolox (or head: yolox-raw): boxes that are not decoded look like any four channels"
)


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield outputs that look like YOLOX's rows before the decode of the boxes."""
    for tensor, axis, found in _candidates(shaped):
        boxes, first = sources(tensor, axis, 0, 4), sources(tensor, axis, 4, _ROW)
        rest = sources(tensor, axis, _ROW, fixed_shape(tensor)[axis])
        raw = not operations(boxes) & (ARITHMETIC | {"Sigmoid", "Softmax", "Relu"})
        if raw and probabilities(first) and probabilities(rest) and not overlap(first, rest):
            yield replace(found, sure="likely", ask=_WHICH)


def _candidates(shaped: ConcreteGraph) -> Iterator[tuple[gs.Tensor, int, Detection]]:
    for tensor in shaped.outputs(3):
        for axis in (2, 1):
            grid = grid_of(fixed_shape(tensor)[3 - axis], shaped.size)
            if fixed_shape(tensor)[axis] > _ROW and grid and grid[0] == 1:
                classes = int(fixed_shape(tensor)[axis]) - _ROW
                text = (
                    f"{tensor.name} {overrides.shown(tensor)} is {FORM} with {overrides.count(classes, 'class')}: "
                    f"{evidence(grid, shaped.size)}, not decoded"
                )
                yield (
                    tensor,
                    axis,
                    Detection(
                        FORM,
                        (tensor.name,),
                        (axis,),
                        Geometry(),
                        int(fixed_shape(tensor)[3 - axis]),
                        classes,
                        shaped.size,
                        text,
                        decode=Decode(strides=grid[1]),
                    ),
                )


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the outputs that have the shape of YOLOX's rows."""
    for tensor, axis, found in _candidates(shaped):
        kinds = sources(tensor, axis, 4, fixed_shape(tensor)[axis])
        strides = decode.strides or found.decode.strides
        yield replace(
            found,
            sure="told",
            activation=overrides.activation(decode, kinds, "sigmoid"),
            decode=decode.model_copy(update={"strides": strides}),
        )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that turn YOLOX's offsets and log extents into boxes in pixels."""
    table = rows(graph, detection, 0)
    at, steps = points(size_of(detection), detection.decode.strides)
    moved = add_node(
        graph, "Mul", [channels(graph, table, 0, 2, "offset"), constant(steps)], "moved"
    )
    centre = add_node(graph, "Add", [moved, constant(at - 0.5 * steps)], "centre")
    grown = add_node(graph, "Exp", [channels(graph, table, 2, 4, "log_extent")], "grown")
    extent = add_node(graph, "Mul", [grown, constant(steps)], "extent")
    boxes = add_node(graph, "Concat", [centre, extent], "boxes", axis=2)
    scores = channels(graph, table, 4, _ROW + (detection.classes or 0), "probabilities")
    if detection.activation == "sigmoid":
        scores = add_node(graph, "Sigmoid", [scores], "probabilities")
    objectness = channels(graph, scores, 0, 1, "objectness")
    classes = channels(graph, scores, 1, 1 + (detection.classes or 0), "class_channels")
    return Decoded(boxes, "centre", add_node(graph, "Mul", [objectness, classes], "scores"), {})
