"""Forms "objectness" and "anchor-free": one tensor with a row for each box, decoded.

"objectness" rows are 4 box channels, 1 objectness and C classes (YOLOv3 to YOLOv7, YOLOX, and
YOLOv6 with a constant one); "anchor-free" rows are 4 box channels and C classes (YOLOv8 and later).
Channels lie last, or before the boxes. Data of each box may follow: coefficients of masks, key
points, an angle.

Proof: the number of boxes is what the image size, a run of strides and the anchors of a cell give;
for heads of zeros
the boxes lie on that grid; the channels after them come from Sigmoids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded, extras, final_scores, in_pixels, rows
from trtforge.graph.detection.extras import masks, named_extra, neutral_rows
from trtforge.graph.detection.grid import cells_of, evidence, geometry, grid_of
from trtforge.graph.detection.records import Detection, Extra, Geometry
from trtforge.graph.detection.sources import (
    Channels,
    decoded,
    operations,
    overlap,
    probabilities,
    sources,
)
from trtforge.graph.edit.nodes import add_node, channels
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

_BOX = 4


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield the outputs whose structure shows decoded rows, one for each box."""
    for tensor in shaped.outputs(3):
        for axis in (2, 1):
            yield from _find(shaped, tensor, axis)


def _find(shaped: ConcreteGraph, tensor: gs.Tensor, axis: int) -> Iterator[Detection]:
    width, grid = fixed_shape(tensor)[axis], grid_of(fixed_shape(tensor)[3 - axis], shaped.size)
    if (
        width <= _BOX
        or grid is None
        or not decoded(tensor, axis, cells_of(shaped.size, max(grid[1])))
    ):
        return
    constant = not sources(tensor, axis, _BOX, _BOX + 1)
    end = _BOX + constant
    while end < width and probabilities(sources(tensor, axis, end, end + 1)):
        end += 1
    if end == _BOX + constant:
        return
    boxes = Channels(tensor, axis, 0, _BOX)
    found = _geometry(shaped, boxes)
    if found is None:
        return
    form: HeadForm = (
        "objectness" if constant or _has_objectness(tensor, axis, end, grid[0]) else "anchor-free"
    )
    why = f"{evidence(grid, shaped.size)}, decoded over a grid, and a Sigmoid on every score"
    base = _detection(shaped, form, tensor, axis, end, why, found)
    if end == width:
        yield base
        return
    extra = named_extra(shaped, boxes, Channels(tensor, axis, end, width), found.coding)
    if extra is None:
        ask = f"the recipe's decode.extra: what channels {end} to {width - 1} are"
        yield replace(base, sure="likely", ask=ask)
    else:
        yield replace(
            base,
            extras=(Extra(extra.name, 0, end, width),),
            kept=extra.kept,
            why=f"{base.why}; {extra.why}",
        )


def _geometry(shaped: ConcreteGraph, boxes: Channels) -> Geometry | None:
    """Return how the boxes are coded; None unless they lie on a grid when all heads give zeros."""
    neutral = neutral_rows(shaped, boxes)
    return None if neutral is None else geometry(neutral, shaped.size)


def _has_objectness(tensor: gs.Tensor, axis: int, end: int, anchors: int) -> bool:
    """Tell whether the first score is objectness.

    One Sigmoid over everything is YOLOv5/v7's objectness where cells have several anchors, and
    YOLOv8's classes where they have one; YOLOX has one anchor too, but its objectness comes from a
    Sigmoid of its own.
    """
    first, rest = sources(tensor, axis, _BOX, _BOX + 1), sources(tensor, axis, _BOX + 1, end)
    plain = operations(first + rest) == {"Sigmoid"}
    return end > _BOX + 1 and plain and (anchors > 1 or not overlap(first, rest))


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield every output whose shape fits the form, without a look at its structure."""
    for tensor in shaped.outputs(3):
        # A head has more boxes than channels.
        axis = 1 if fixed_shape(tensor)[1] < fixed_shape(tensor)[2] else 2
        end = fixed_shape(tensor)[axis] - sum(decode.extra.values())
        if end <= _BOX + (form == "objectness"):
            continue
        shown = _geometry(shaped, Channels(tensor, axis, 0, _BOX))
        place = overrides.geometry(decode, shown, Geometry("centre"))
        base = _detection(shaped, form, tensor, axis, end, "the recipe says so", place)
        yield replace(
            base,
            sure="told",
            extras=overrides.extras(decode, end),
            kept=masks(shaped, decode.extra.get("coefficients")),
            activation=overrides.activation(decode, sources(tensor, axis, _BOX, end)),
            background=overrides.background(decode),
            classes=overrides.foreground(decode, base.classes),
            decode=decode,
        )


def _detection(
    shaped: ConcreteGraph,
    form: HeadForm,
    tensor: gs.Tensor,
    axis: int,
    end: int,
    why: str,
    found: Geometry,
) -> Detection:
    classes = end - _BOX - (form == "objectness")
    shown = f"{tensor.name} {overrides.shown(tensor)} is {form} with {overrides.count(classes, 'class')}: {why}"
    return Detection(
        form,
        (tensor.name,),
        (axis,),
        found,
        int(fixed_shape(tensor)[3 - axis]),
        classes,
        shaped.size,
        shown,
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Return boxes and scores; scores are multiplied by objectness where the form has it."""
    all_channels = rows(graph, detection, 0)
    boxes = in_pixels(graph, channels(graph, all_channels, 0, _BOX, "box_channels"), detection)
    low = _BOX + (detection.form == "objectness")
    high = low + detection.score_channels
    scores = final_scores(
        graph, channels(graph, all_channels, low, high, "class_channels"), detection
    )
    if detection.form == "objectness":
        objectness = channels(graph, all_channels, _BOX, low, "objectness")
        if detection.activation == "sigmoid":
            objectness = add_node(graph, "Sigmoid", [objectness], "objectness_probability")
        scores = add_node(graph, "Mul", [objectness, scores], "scores")
    return Decoded(boxes, detection.coding, scores, extras(graph, [all_channels], detection))
