"""Form "ranked": detections that the model selects itself with a TopK.

One tensor `(B, K, 6 + extras)` of x1, y1, x2, y2, score, class (YOLOv10, YOLO26); or boxes `(B, K,
4)`, scores `(B, K)` and classes `(B, K)` apart (the post-processor of RT-DETR and D-FINE).

Proof: scores are a TopK's values, boxes are gathered, and classes are whole numbers. The coding of
the boxes shows where the rows that are gathered lie on a grid of cells, where they are a decoder's
Sigmoids, or where far corners follow near ones whatever the heads give. Else the recipe says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph, trial
from trtforge.graph.detection.decoding import Decoded, extras, in_pixels, rows
from trtforge.graph.detection.extras import NamedExtra, named_extra, neutral_rows
from trtforge.graph.detection.grid import geometry
from trtforge.graph.detection.records import Coding, Detection, Extra, Geometry, Unit
from trtforge.graph.detection.sources import (
    SELECT,
    Channels,
    ChannelSource,
    all_rows,
    before_selection,
    known,
    operations,
    sources,
)
from trtforge.graph.edit.nodes import add_node, channels, float32, upstream
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

FORM: HeadForm = "ranked"
_BOX, _SCORE, _CLASS, _ROW = 4, 4, 5, 6
_DEFAULT = Geometry("corners")
_SPREAD = 3.0  # of noise in the heads, in a trial: boxes of all sizes


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield outputs that hold detections selected by a TopK."""
    for tensor in shaped.outputs(3):
        score, kind = (sources(tensor, 2, at, at + 1) for at in (_SCORE, _CLASS))
        gathered = operations(sources(tensor, 2, 0, _BOX)) <= SELECT
        if fixed_shape(tensor)[2] >= _ROW and gathered and _best(score) and _whole(kind):
            yield from _single(shaped, tensor)
    for boxes, scores, classes in _triples(shaped):
        best = _best(sources(scores, 1, 0, fixed_shape(scores)[1]))
        if best and np.dtype(classes.dtype).kind == "i":
            place = _place(shaped, boxes)
            why = "scores are the best of a TopK"
            yield _proved(_apart(shaped, boxes, scores, classes, place or _DEFAULT, why), place)


def _single(shaped: ConcreteGraph, tensor: gs.Tensor) -> Iterator[Detection]:
    place = _place(shaped, tensor)
    why = "boxes gathered by a TopK of the scores, with whole numbers for classes"
    found = _proved(_row(shaped, tensor, place or _DEFAULT, why), place)
    end = fixed_shape(tensor)[2]
    if end == _ROW:
        yield found
        return
    extra = _extra(shaped, tensor, found.coding)
    if extra is None:
        ask = f"the recipe's decode.extra: what channels {_ROW} to {end - 1} are"
        yield replace(found, sure="likely", ask=ask)
    else:
        extras = (Extra(extra.name, 0, _ROW, end),)
        yield replace(found, extras=extras, kept=extra.kept, why=f"{found.why}; {extra.why}")


def _extra(shaped: ConcreteGraph, tensor: gs.Tensor, coding: Coding) -> NamedExtra | None:
    """Return what follows the class in a row; None where nothing shows it."""
    width = fixed_shape(tensor)[2]
    boxes = all_rows(Channels(tensor, 2, 0, _BOX))
    more = all_rows(Channels(tensor, 2, _ROW, width))
    return named_extra(shaped, boxes, more, coding) if boxes and more else None


def _proved(found: Detection, place: Geometry | None) -> Detection:
    """Return the detection; only likely where nothing shows the coding of its boxes."""
    if place is not None:
        return found
    ask = "the recipe's decode.coding and decode.unit: what the four channels of a box are"
    return replace(found, sure="likely", ask=ask)


def _best(found: list[ChannelSource]) -> bool:
    """Tell whether scores are a TopK's values, or gathered by its indices."""
    return bool(found) and all(
        source.node.op == "TopK" or (source.node.op in SELECT and _by_top(source.node))
        for source in found
    )


def _by_top(node: gs.Node) -> bool:
    """Tell whether the indices of a node of `SELECT` come from a TopK."""
    return any(producer.op == "TopK" for producer in upstream(node.inputs[1]))


def _whole(found: list[ChannelSource]) -> bool:
    """Tell whether classes are integers, such as a TopK's indices modulo C, or an ArgMax."""
    return bool(found) and all(
        source.node.outputs[0].dtype in (np.int64, np.int32) for source in before_selection(found)
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
    """Return the boxes' geometry where something proves it, else None.

    Distances to the sides of a box may be negative, so a far corner may lie before a near one: only
    the grid under the rows that are selected tells YOLO26's corners from centres and extents.
    """
    on_grid = _on_grid(shaped, all_rows(Channels(tensor, 2, 0, _BOX)))
    if on_grid is not None:
        return on_grid
    if operations(before_selection(sources(tensor, 2, 0, _BOX))) == {"Sigmoid"}:
        return Geometry("centre", "fraction")  # as every published decoder of queries gives them
    value = trial(shaped, tensor, _SPREAD)
    if value is None:
        return None
    near, far = value[0, :, :2], value[0, :, 2:_BOX]
    unit: Unit = "pixels" if np.median(np.abs(near + far)) > 2 else "fraction"
    return Geometry("corners", unit) if (far >= near).all() else None


def _on_grid(shaped: ConcreteGraph, boxes: Channels | None) -> Geometry | None:
    """Return the geometry that all rows show, before the best are selected, when heads give zeros."""
    neutral = neutral_rows(shaped, boxes) if boxes else None
    return None if neutral is None else geometry(neutral, shaped.size)


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the outputs that have the shapes of ranked detections."""
    for tensor in shaped.outputs(3):
        if fixed_shape(tensor)[2] == _ROW + sum(decode.extra.values()):
            place = overrides.geometry(decode, _place(shaped, tensor), _DEFAULT)
            yield replace(
                _row(shaped, tensor, place, "the recipe says so"),
                sure="told",
                extras=overrides.extras(decode, _ROW),
                decode=decode,
            )
    for boxes, scores, classes in _triples(shaped):
        if np.dtype(scores.dtype).kind == "f":
            place = overrides.geometry(decode, _place(shaped, boxes), _DEFAULT)
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
    """Return C: the divisor of a flat index, or the channels of an ArgMax; None without either."""
    visited: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited or node.op == "TopK":
            continue
        visited.add(id(node))
        if node.op == "ArgMax":
            return _extent(node.inputs[0], node.attrs.get("axis", 0))
        divisor = node.inputs[1] if node.op in {"Mod", "Div"} else None
        if isinstance(divisor, gs.Constant) and divisor.values.size == 1:
            return int(divisor.values.item())
        nodes += [producer for tensor in node.inputs for producer in tensor.inputs]
    return None


def _extent(tensor: gs.Tensor, axis: int) -> int | None:
    """Return the size of an axis of a tensor; None where its shape is unknown."""
    return fixed_shape(tensor)[axis] if known(tensor) else None


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
