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

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph, trial
from trtforge.graph.detection.decoding import Decoded, extras, final_scores, in_pixels, rows
from trtforge.graph.detection.grid import cells_of, evidence, geometry, grid_of
from trtforge.graph.detection.records import Detection, Extra, Geometry
from trtforge.graph.detection.sources import decoded, operations, overlap, probabilities, sources
from trtforge.graph.edit.nodes import add_node, channels, upstream
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

_BOX = 4
_LEVEL_VARIETY = (
    64  # places of key points against their box: a few for each level, not one for each cell
)


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
    neutral = _neutral_rows(shaped, tensor, axis)
    found = None if neutral is None else geometry(neutral[:, :_BOX], shaped.size)
    if neutral is None or found is None:
        return
    form: HeadForm = (
        "objectness" if constant or _has_objectness(tensor, axis, end, grid[0]) else "anchor-free"
    )
    why = f"{evidence(grid, shaped.size)}, decoded over a grid, and a Sigmoid on every score"
    base = _detection(shaped, form, tensor, axis, end, why, found)
    if end == width:
        yield base
        return
    tail = _tail(shaped, tensor, axis, end, neutral, found)
    if tail is None:
        yield replace(
            base,
            sure="likely",
            ask=f"the recipe's decode.extra: what channels {end} to {width - 1} are",
        )
    else:
        name, kept, shown = tail
        yield replace(
            base, extras=(Extra(name, 0, end, width),), kept=kept, why=f"{base.why}; {shown}"
        )


def _has_objectness(tensor: gs.Tensor, axis: int, end: int, anchors: int) -> bool:
    """Tell whether the first score is objectness.

    One Sigmoid over everything is YOLOv5/v7's objectness where cells have several anchors, and
    YOLOv8's classes where they have one; YOLOX has one anchor too, but its objectness comes from a
    Sigmoid of its own.
    """
    first, rest = sources(tensor, axis, _BOX, _BOX + 1), sources(tensor, axis, _BOX + 1, end)
    plain = operations(first + rest) == {"Sigmoid"}
    return end > _BOX + 1 and plain and (anchors > 1 or not overlap(first, rest))


def _neutral_rows(shaped: ConcreteGraph, tensor: gs.Tensor, axis: int) -> np.ndarray | None:
    """Return the first image's rows `(N, channels)` when all heads give zeros."""
    value = trial(shaped, tensor)
    if value is None:
        return None
    rows_of_first: np.ndarray = value[0] if axis == 2 else value[0].T
    return rows_of_first


def _tail(
    shaped: ConcreteGraph,
    tensor: gs.Tensor,
    axis: int,
    low: int,
    neutral: np.ndarray,
    found: Geometry,
) -> tuple[str, tuple[str, ...], str] | None:
    """Return what the channels from `low` on are: an extra's name, its outputs, and the evidence."""
    width = fixed_shape(tensor)[axis] - low
    prototypes = [
        each
        for each in shaped.outputs(4)
        if fixed_shape(each)[1] == width and min(fixed_shape(each)[2:]) > 1
    ]
    if len(prototypes) == 1:
        name = prototypes[0].name
        return (
            "coefficients",
            (name,),
            f"{width} mask coefficients for the {width} prototypes of {name}",
        )
    if width == 1 and _turned(tensor, axis):
        return "angle", (), "boxes turned by the angle in the last channel"
    near, far = neutral[:, :2], neutral[:, 2:_BOX]
    places = near if found.coding == "centre" else (near + far) / 2
    for step in (3, 2):
        if width % step == 0 and _on_grid(neutral[:, low:], places, step):
            return "keypoints", (), f"{width // step} key points of {step} values, on the same grid"
    return None


def _turned(tensor: gs.Tensor, axis: int) -> bool:
    """Tell whether the boxes' places depend on the cosine of the last channel."""
    angle = {
        id(node)
        for source in sources(
            tensor, axis, fixed_shape(tensor)[axis] - 1, fixed_shape(tensor)[axis]
        )
        for node in (source.node, *upstream(source.node.outputs[0]))
    }
    turns = [
        node
        for source in sources(tensor, axis, 0, 2)
        for node in upstream(source.node.outputs[0])
        if node.op in {"Cos", "Sin"}
    ]
    return any(id(producer) in angle for node in turns for producer in node.inputs[0].inputs)


def _on_grid(points: np.ndarray, centres: np.ndarray, step: int) -> bool:
    """Tell whether x and y of every point move with their box when all heads give zeros."""
    for axis in (0, 1):
        apart = points[:, axis::step] - centres[:, axis : axis + 1]
        moves = points[:, axis::step].max(0) - points[:, axis::step].min(0)
        if (
            len(np.unique(np.round(apart, 2))) > _LEVEL_VARIETY
            or (moves < 2 * np.ptp(apart, 0)).any()
        ):
            return False
    return True


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield every output whose shape fits the form, without a look at its structure."""
    for tensor in shaped.outputs(3):
        axis = (
            1 if fixed_shape(tensor)[1] < fixed_shape(tensor)[2] else 2
        )  # boxes outnumber channels
        end = fixed_shape(tensor)[axis] - sum(decode.extra.values())
        if end <= _BOX + (form == "objectness"):
            continue
        neutral = _neutral_rows(shaped, tensor, axis)
        shown = None if neutral is None else geometry(neutral[:, :_BOX], shaped.size)
        place = overrides.geometry(decode, shown, Geometry("centre"))
        base = _detection(shaped, form, tensor, axis, end, "the recipe says so", place)
        yield replace(
            base,
            sure="told",
            extras=overrides.extras(decode, end),
            kept=_prototypes(shaped, decode),
            activation=overrides.activation(decode, sources(tensor, axis, _BOX, end)),
            background=overrides.background(decode),
            classes=overrides.foreground(decode, base.classes),
            decode=decode,
        )


def _prototypes(shaped: ConcreteGraph, decode: Decode) -> tuple[str, ...]:
    width = decode.extra.get("coefficients")
    return tuple(each.name for each in shaped.outputs(4) if fixed_shape(each)[1] == width)


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
