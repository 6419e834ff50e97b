"""Form "priors": box deltas over priors that the graph does not hold (SSD, RetinaNet and more).

Deltas `(B, N, 4)` or `(B, 4, N)`, scores `(B, N, C)` or `(B, C, N)`, and for faces landmarks `(B,
N, 10)`. A prior is an anchor of the recipe on every cell of its level: centre (column + offset) *
stride, extent in pixels. With variances v and w::

    centre = prior + delta * v * prior extent      extent = prior extent * exp(delta * w)

Source: SSD (arXiv 1512.02325), whose variances are 0.1 and 0.2; RetinaNet (1708.02002) and
EfficientDet (1911.09070)
have 1 and 1, and EfficientDet has y before x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded, final_scores, rows
from trtforge.graph.detection.grid import cells_of, points
from trtforge.graph.detection.levels import constant, size_of
from trtforge.graph.detection.pair import candidates, extra_outputs
from trtforge.graph.detection.records import Detection, Geometry
from trtforge.graph.detection.sources import decoded, operations, sources
from trtforge.graph.edit.nodes import add_node, channels
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "priors"
_COARSEST = 32  # stride; a constant of as many elements as it has cells is a grid: decoded already
_LEAST = 32  # boxes; fewer are queries, or no detector
_WHICH = "--recipe ssd, retinaface or another whose head is priors: the priors are not in the graph"


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield outputs that look like deltas and scores over priors."""
    for deltas, delta_axis, scores, axis in candidates(shaped):
        if delta_axis == 3 or fixed_shape(deltas)[3 - delta_axis] < _LEAST:
            continue
        raw = "Sigmoid" not in operations(sources(deltas, delta_axis, 0, 4))
        if raw and not decoded(deltas, delta_axis, cells_of(shaped.size, _COARSEST)):
            yield replace(
                _detection(shaped, deltas, delta_axis, scores, axis, Decode()),
                sure="likely",
                ask=_WHICH,
            )


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the outputs that fit the recipe's priors."""
    if not decode.anchors or len(decode.anchors) != len(decode.strides):
        raise ForgeError(
            f"head {FORM} needs priors: {len(decode.anchors)} levels of decode.anchors and "
            f"{len(decode.strides)} of decode.strides",
            "give both, finest first",
        )
    expected = _count(shaped, decode)
    for deltas, delta_axis, scores, axis in candidates(shaped):
        if delta_axis == 3:
            continue
        found = _detection(shaped, deltas, delta_axis, scores, axis, decode)
        if found.boxes != expected:
            raise ForgeError(
                f"the recipe's priors are {expected} at {shaped.size[0]}x{shaped.size[1]}, and the model's "
                f"outputs have {found.boxes} boxes",
                "give the model's own under decode",
            )
        others = extra_outputs(shaped, decode, found)
        yield replace(
            found,
            sure="told",
            outputs=(*found.outputs, *(name for name, _, _ in others)),
            axes=(*found.axes, *(each for _, each, _ in others)),
            extras=tuple(extra for _, _, extra in others),
        )


def _count(shaped: ConcreteGraph, decode: Decode) -> int:
    return sum(
        len(anchors) * cells_of(shaped.size, stride)
        for anchors, stride in zip(decode.anchors, decode.strides, strict=True)
    )


def _detection(
    shaped: ConcreteGraph,
    deltas: gs.Tensor,
    delta_axis: int,
    scores: gs.Tensor,
    axis: int,
    decode: Decode,
) -> Detection:
    classes = int(fixed_shape(scores)[axis]) - (decode.background != "none")
    activation = overrides.activation(
        decode, sources(scores, axis, 0, fixed_shape(scores)[axis]), "sigmoid"
    )
    why = (
        f"{deltas.name} {overrides.shown(deltas)} and {scores.name} {overrides.shown(scores)} are deltas over {FORM} with "
        f"{overrides.count(classes, 'class')}"
    )
    return Detection(
        FORM,
        (deltas.name, scores.name),
        (delta_axis, axis),
        Geometry(),
        int(fixed_shape(deltas)[3 - delta_axis]),
        classes,
        shaped.size,
        why,
        activation=activation,
        background=overrides.background(decode),
        decode=decode,
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that apply the deltas to the priors and give boxes in pixels."""
    place, extent = priors(detection)
    tensors = [rows(graph, detection, index) for index in range(len(detection.outputs))]
    deltas, (moves, grows) = tensors[0], detection.decode.variances
    if detection.decode.order == "yx":
        deltas = add_node(
            graph, "Gather", [deltas, np.array([1, 0, 3, 2], np.int64)], "deltas_xy", axis=2
        )
    moved = add_node(
        graph, "Mul", [channels(graph, deltas, 0, 2, "moves"), constant(moves * extent)], "moved"
    )
    centre = add_node(graph, "Add", [moved, constant(place)], "centre")
    scaled = add_node(
        graph,
        "Mul",
        [channels(graph, deltas, 2, 4, "grows"), np.array(grows, np.float32)],
        "scaled",
    )
    grown = add_node(
        graph, "Mul", [add_node(graph, "Exp", [scaled], "growth"), constant(extent)], "extent"
    )
    boxes = add_node(graph, "Concat", [centre, grown], "boxes", axis=2)
    extras = {
        extra.name: _points(graph, tensors[extra.output], place, moves * extent, extra.high)
        for extra in detection.extras
    }
    return Decoded(boxes, "centre", final_scores(graph, tensors[1], detection), extras)


def _points(
    graph: gs.Graph, deltas: gs.Tensor, place: np.ndarray, reach: np.ndarray, width: int
) -> gs.Tensor:
    """Return landmarks in pixels: each pair is a delta, like the centre of a box."""
    moved = add_node(graph, "Mul", [deltas, constant(np.tile(reach, width // 2))], "points_moved")
    return add_node(graph, "Add", [moved, constant(np.tile(place, width // 2))], "points")


def priors(detection: Detection) -> tuple[np.ndarray, np.ndarray]:
    """Return centres and extents `(N, 2)` in pixels, in the order of the outputs' rows."""
    size, figures = size_of(detection), detection.decode
    places, extents = [], []
    for stride, anchors in zip(figures.strides, figures.anchors, strict=True):
        sizes = np.array(anchors, np.float32)
        at = points(size, [stride])[0] + np.float32((figures.prior_offset - 0.5) * stride)
        first = figures.anchors_first
        places.append(np.tile(at, (len(sizes), 1)) if first else at.repeat(len(sizes), 0))
        extents.append(sizes.repeat(len(at), 0) if first else np.tile(sizes, (len(at), 1)))
    return np.concatenate(places), np.concatenate(extents)
