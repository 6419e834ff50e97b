"""Form "ranked": detections that the model selects itself with a TopK.

One tensor `(B, K, 6 + extras)` of x1, y1, x2, y2, score, class (YOLOv10, YOLO26); or boxes `(B, K,
4)`, scores `(B, K)` and classes `(B, K)` apart (the post-processor of RT-DETR and D-FINE).

Proof: scores are a TopK's values, boxes are gathered, and classes are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph, trial
from trtforge.graph.detection.decoding import Decoded, extras, in_pixels, rows
from trtforge.graph.detection.records import Detection, Extra, Geometry, Unit
from trtforge.graph.detection.sources import operations, sources
from trtforge.graph.edit.nodes import add_node, channels, float32
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "ranked"
_GATHERED = {"Gather", "GatherElements", "GatherND"}
_BOX, _SCORE, _CLASS, _ROW = 4, 4, 5, 6
_SPREAD = 3.0  # of noise in the heads, in a trial: boxes of all sizes


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield outputs that hold detections selected by a TopK."""
    for tensor in shaped.outputs(3):
        score, kind = (sources(tensor, 2, at, at + 1) for at in (_SCORE, _CLASS))
        gathered = operations(sources(tensor, 2, 0, _BOX)) <= _GATHERED
        if fixed_shape(tensor)[2] >= _ROW and gathered and _best(score) and _whole(kind):
            yield from _single(shaped, tensor)
    for boxes, scores, classes in _triples(shaped):
        if (
            _best(sources(scores, 1, 0, fixed_shape(scores)[1]))
            and np.dtype(classes.dtype).kind == "i"
        ):
            place = _place(shaped, boxes)
            if place:
                yield _apart(shaped, boxes, scores, classes, place, "scores are the best of a TopK")


def _single(shaped: ConcreteGraph, tensor: gs.Tensor) -> Iterator[Detection]:
    place = _place(shaped, tensor)
    if place is None:
        return
    found = _row(
        shaped,
        tensor,
        place,
        "boxes gathered by a TopK of the scores, with whole numbers for classes",
    )
    width = fixed_shape(tensor)[2] - _ROW
    prototypes = [
        each.name
        for each in shaped.outputs(4)
        if fixed_shape(each)[1] == width and min(fixed_shape(each)[2:]) > 1
    ]
    if width and len(prototypes) != 1:
        ask = f"the recipe's decode.extra: what channels {_ROW} to {_ROW + width - 1} are"
        yield replace(found, sure="likely", ask=ask)
    else:
        extra = (Extra("coefficients", 0, _ROW, _ROW + width),) if width else ()
        yield replace(found, extras=extra, kept=tuple(prototypes) if width else ())


def _best(found: list[Any]) -> bool:
    return operations(found) == {"TopK"}


def _whole(found: list[Any]) -> bool:
    return bool(found) and all(
        source.node.outputs[0].dtype in (np.int64, np.int32) for source in found
    )


def _triples(shaped: ConcreteGraph) -> Iterator[tuple[gs.Tensor, gs.Tensor, gs.Tensor]]:
    flat = shaped.outputs(2)
    for boxes in shaped.outputs(3):
        for scores in flat:
            for classes in flat:
                if (
                    scores is not classes
                    and fixed_shape(boxes)[1:] == [fixed_shape(scores)[1], _BOX]
                    and scores.shape == classes.shape
                ):
                    yield boxes, scores, classes


def _place(shaped: ConcreteGraph, tensor: gs.Tensor) -> Geometry | None:
    """Return the boxes' coding by a trial with noise: far corners never come before near ones."""
    value = trial(shaped, tensor, _SPREAD)
    if value is None:
        return None
    near, far = value[0, :, :2], value[0, :, 2:_BOX]
    unit: Unit = "pixels" if np.median(np.abs(near + far)) > 2 else "fraction"
    return Geometry("corners" if (far >= near).mean() > 0.99 else "centre", unit)


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the outputs that have the shapes of ranked detections."""
    default = Geometry("corners")
    for tensor in shaped.outputs(3):
        if fixed_shape(tensor)[2] == _ROW + sum(decode.extra.values()):
            place = overrides.geometry(decode, _place(shaped, tensor), default)
            yield replace(
                _row(shaped, tensor, place, "the recipe says so"),
                sure="told",
                extras=overrides.extras(decode, _ROW),
                decode=decode,
            )
    for boxes, scores, classes in _triples(shaped):
        if np.dtype(scores.dtype).kind == "f":
            place = overrides.geometry(decode, _place(shaped, boxes), default)
            yield replace(
                _apart(shaped, boxes, scores, classes, place, "the recipe says so"),
                sure="told",
                decode=decode,
            )


def _row(shaped: ConcreteGraph, tensor: gs.Tensor, place: Geometry, why: str) -> Detection:
    why = f"{tensor.name} {overrides.shown(tensor)} is {fixed_shape(tensor)[1]} {FORM} detections: {why}"
    classes = _classes([source.node for source in sources(tensor, 2, _CLASS, _ROW)])
    return Detection(
        FORM,
        (tensor.name,),
        (2,),
        place,
        int(fixed_shape(tensor)[1]),
        classes,
        shaped.size,
        why,
        suppress=False,
    )


def _apart(
    shaped: ConcreteGraph,
    boxes: gs.Tensor,
    scores: gs.Tensor,
    classes: gs.Tensor,
    place: Geometry,
    why: str,
) -> Detection:
    names = (boxes.name, scores.name, classes.name)
    why = f"{', '.join(names)} are {fixed_shape(boxes)[1]} {FORM} detections: {why}"
    count = int(fixed_shape(boxes)[1])
    return Detection(
        FORM,
        names,
        (2, 1, 1),
        place,
        count,
        _classes(list(classes.inputs)),
        shaped.size,
        why,
        suppress=False,
    )


def _classes(nodes: list[gs.Node]) -> int | None:
    """Return C, the divisor that gives the class from a flat index; None where there is none."""
    visited: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited or node.op == "TopK":
            continue
        visited.add(id(node))
        divisor = node.inputs[1] if node.op in {"Mod", "Div"} else None
        if isinstance(divisor, gs.Constant) and divisor.values.size == 1:
            return int(divisor.values.item())
        nodes += [producer for tensor in node.inputs for producer in tensor.inputs]
    return None


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Return boxes and scores `(B, K, 1)`; the classes are the extra ``class``."""
    if len(detection.outputs) == 1:
        table = rows(graph, detection, 0)
        boxes = channels(graph, table, 0, _BOX, "box_channels")
        scores = channels(graph, table, _SCORE, _CLASS, "score")
        classes = channels(graph, table, _CLASS, _ROW, "class")
        more = extras(graph, [table], detection)
    else:
        boxes = rows(graph, detection, 0)
        down = np.array([0, -1, 1], np.int64)
        tensors = graph.tensors()
        scores, classes = (
            add_node(graph, "Reshape", [float32(graph, tensors[name]), down], "column")
            for name in detection.outputs[1:]
        )
        more = {}
    return Decoded(
        in_pixels(graph, boxes, detection), detection.coding, scores, {"class": classes, **more}
    )
