"""Form "boxes-scores": decoded boxes in one tensor, final scores in another.

PP-YOLOE, DAMO-YOLO, YOLO-NAS, YOLOv4 with boxes `(B, N, 1, 4)`, SSD, RetinaNet, RetinaFace and
EfficientDet that were exported with their decode, and what is left where an NMS plugin was cut
away.

Proof: for heads of zeros the boxes lie on a grid over the image, and scores come from Sigmoids. A
Softmax has a class
for the background, and the graph does not show which: the recipe says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph, trial
from trtforge.graph.detection.decoding import Decoded, final_scores, in_pixels, rows
from trtforge.graph.detection.grid import cells_of, evidence, geometry, grid_of
from trtforge.graph.detection.records import Detection, Extra, Geometry
from trtforge.graph.detection.sources import decoded, operations, probabilities, sources
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "boxes-scores"
_WHICH = (
    "the recipe's decode.background (first or last): which class of the Softmax stands for none"
)


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield pairs of outputs that hold decoded boxes and their scores."""
    for boxes, box_axis, scores, axis in candidates(shaped):
        count = fixed_shape(boxes)[1 if box_axis > 1 else 2]
        grid = grid_of(count, shaped.size)
        least = cells_of(shaped.size, max(grid[1])) if grid else count
        kinds = sources(scores, axis, 0, fixed_shape(scores)[axis])
        softmax = operations(kinds) == {"Softmax"}
        if not decoded(boxes, box_axis, least) or not (softmax or probabilities(kinds)):
            continue
        place = _place(shaped, boxes, box_axis)
        if place is None:
            continue
        where = evidence(grid, shaped.size) if grid else "boxes all over the image"
        why = f"{where}, decoded over a grid, and a {'Softmax' if softmax else 'Sigmoid'} on every score"
        found = _detection(shaped, boxes, box_axis, scores, axis, why, place)
        yield replace(found, sure="likely", ask=_WHICH) if softmax else found


def candidates(shaped: ConcreteGraph) -> Iterator[tuple[gs.Tensor, int, gs.Tensor, int]]:
    """Yield the pairs of outputs that have the shapes of boxes and scores, with their channel axes."""
    flat = [(tensor, axis) for tensor in shaped.outputs(3) for axis in (2, 1)]
    single = [(tensor, 3) for tensor in shaped.outputs(4) if fixed_shape(tensor)[2:] == [1, 4]]
    for (boxes, box_axis), (scores, axis) in permutations([*flat, *single], 2):
        count = fixed_shape(boxes)[2 if box_axis == 1 else 1]
        fits = (
            boxes is not scores
            and axis < 3
            and fixed_shape(boxes)[box_axis] == 4
            and fixed_shape(scores)[3 - axis] == count
        )
        if fits and operations(sources(boxes, box_axis, 0, 4)) != {"Softmax"}:
            yield boxes, box_axis, scores, axis


def _place(shaped: ConcreteGraph, boxes: gs.Tensor, axis: int) -> Geometry | None:
    value = trial(shaped, boxes)
    if value is None:
        return None
    return geometry((value[0].T if axis == 1 else value[0]).reshape(-1, 4), shaped.size)


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the first pair with the right shapes; a third output may be the recipe's landmarks."""
    for boxes, box_axis, scores, axis in candidates(shaped):
        place = overrides.geometry(decode, _place(shaped, boxes, box_axis), Geometry("corners"))
        found = _detection(shaped, boxes, box_axis, scores, axis, "the recipe says so", place)
        kinds = sources(scores, axis, 0, fixed_shape(scores)[axis])
        others = extra_outputs(shaped, decode, found)
        yield replace(
            found,
            sure="told",
            activation=overrides.activation(decode, kinds),
            outputs=(*found.outputs, *(name for name, _, _ in others)),
            axes=(*found.axes, *(axis for _, axis, _ in others)),
            extras=tuple(extra for _, _, extra in others),
            background=overrides.background(decode),
            classes=overrides.foreground(decode, found.classes),
            decode=decode,
        )


def extra_outputs(
    shaped: ConcreteGraph, decode: Decode, found: Detection
) -> list[tuple[str, int, Extra]]:
    """Return the outputs with a row for each box and the channels of the recipe's extras."""
    names: list[tuple[str, int, Extra]] = []
    for name, width in decode.extra.items():
        for tensor in shaped.outputs(3):
            axis = next(
                (
                    axis
                    for axis in (2, 1)
                    if fixed_shape(tensor)[axis] == width
                    and fixed_shape(tensor)[3 - axis] == found.boxes
                ),
                None,
            )
            if axis and tensor.name not in found.outputs:
                names.append(
                    (tensor.name, axis, Extra(name, len(found.outputs) + len(names), 0, width))
                )
                break
    return names


def _detection(
    shaped: ConcreteGraph,
    boxes: gs.Tensor,
    box_axis: int,
    scores: gs.Tensor,
    axis: int,
    why: str,
    place: Geometry,
) -> Detection:
    classes, count = int(fixed_shape(scores)[axis]), int(fixed_shape(scores)[3 - axis])
    shown = f"{boxes.name} {overrides.shown(boxes)} and {scores.name} {overrides.shown(scores)}"
    why = f"{shown} is {FORM} with {overrides.count(classes, 'class')}: {why}"
    return Detection(
        FORM, (boxes.name, scores.name), (box_axis, axis), place, count, classes, shaped.size, why
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that give boxes in pixels and final scores from the two outputs."""
    tensors = [rows(graph, detection, index) for index in range(len(detection.outputs))]
    boxes = in_pixels(graph, tensors[0], detection)
    extras = {extra.name: tensors[extra.output] for extra in detection.extras}
    return Decoded(boxes, detection.coding, final_scores(graph, tensors[1], detection), extras)
