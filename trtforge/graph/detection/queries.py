"""Form "queries": a few hundred boxes that need no suppression (DETR, RT-DETR, D-FINE).

A tensor of boxes `(B, Q, 4)` as cx, cy, w, h in fractions of the input, and one of scores or logits
`(B, Q, C)`; or both in one, `(B, Q, 4 + C)`.

Proof: boxes come from a Sigmoid (or, as D-FINE's, from arithmetic over one), and a TopK before them
selects the
queries, as two-stage decoders do. All published ones of that kind have independent classes, so
logits need a Sigmoid. Without the TopK it may be DETR, whose classes end in one for none and need a
Softmax: the recipe says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import ConcreteGraph
from trtforge.graph.detection.decoding import Decoded, final_scores, in_pixels, rows
from trtforge.graph.detection.pair import candidates
from trtforge.graph.detection.records import Activation, Detection, Geometry
from trtforge.graph.detection.sources import (
    ARITHMETIC,
    MOVE,
    SELECT,
    operations,
    probabilities,
    sources,
)
from trtforge.graph.edit.nodes import channels, upstream
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode, HeadForm

Pair = tuple[gs.Tensor, gs.Tensor, int]  # boxes, scores, and the channel of the first class

FORM: HeadForm = "queries"
_CARRY = ARITHMETIC | MOVE | SELECT | {"Mod", "Floor"}
_MOST = 2000  # queries; published models have 100 to 900
_FRACTIONS = Geometry("centre", "fraction")
_WHICH = "--recipe detr, or head: queries in a recipe of yours: how scores are to be read"


def find(shaped: ConcreteGraph) -> Iterator[Detection]:
    """Yield pairs of outputs that hold the boxes and scores of queries."""
    for boxes, scores, low in _pairs(shaped):
        count = int(fixed_shape(boxes)[1])
        if count > _MOST or not _in_fractions(boxes):
            continue
        selected = _selected(boxes)
        classes = sources(scores, 2, low, fixed_shape(scores)[2])
        if operations(classes) & {"Softmax", "Gather", "GatherElements"}:
            continue
        evidence = ", and queries selected by a TopK" if selected else ""
        found = _detection(shaped, boxes, scores, low, f"boxes in fractions{evidence}")
        if selected:
            yield replace(found, activation="none" if probabilities(classes) else "sigmoid")
        elif boxes is not scores:
            yield replace(found, sure="likely", ask=_WHICH)


def _pairs(shaped: ConcreteGraph) -> list[Pair]:
    """Return outputs that may be boxes and scores, with the first class; the last layer's come first.

    Exports may hold what earlier decoder layers and the encoder give, in the same shapes.
    """
    pairs: list[Pair] = [
        (boxes, scores, 0)
        for boxes, box_axis, scores, axis in candidates(shaped)
        if (box_axis, axis) == (2, 2)
    ]
    pairs += [(tensor, tensor, 4) for tensor in shaped.outputs(3) if fixed_shape(tensor)[2] > 4]
    return sorted(pairs, key=lambda pair: -len(upstream(pair[0])) - len(upstream(pair[1])))


def _in_fractions(boxes: gs.Tensor) -> bool:
    """Tell whether boxes are Sigmoids, or arithmetic over them behind a selection of queries."""
    kinds = operations(sources(boxes, 2, 0, 4))
    if kinds == {"Sigmoid"}:
        return True
    return bool(kinds) and kinds <= ARITHMETIC and _selected(boxes) and _over_sigmoid(boxes)


def _selected(boxes: gs.Tensor) -> bool:
    return any(node.op == "TopK" for node in upstream(boxes))


def _over_sigmoid(boxes: gs.Tensor) -> bool:
    """Tell whether a Sigmoid lies before the boxes, and they are no positions on a map."""
    return any(node.op == "Sigmoid" for node in upstream(boxes)) and not _are_positions(boxes)


def _are_positions(boxes: gs.Tensor) -> bool:
    """Tell whether boxes are computed from a TopK's indices, as CenterNet's from its best cells.

    The indices by which a decoder gathers its queries are no numbers of the boxes.
    """
    pending, visited = list(boxes.inputs), set()
    while pending:
        node = pending.pop()
        if node.op == "TopK":
            return True
        if id(node) in visited or node.op not in _CARRY:
            continue
        visited.add(id(node))
        read = node.inputs[:1] if node.op in SELECT else node.inputs
        pending += [producer for tensor in read for producer in tensor.inputs]
    return False


def hinted(shaped: ConcreteGraph, form: HeadForm, decode: Decode) -> Iterator[Detection]:
    """Yield the pairs of outputs that have the shapes of boxes and scores of queries."""
    # Three classes and none are as many channels as a box: what is a fraction is tried as boxes first.
    for boxes, scores, low in sorted(_pairs(shaped), key=lambda pair: not _in_fractions(pair[0])):
        kinds = sources(scores, 2, low, fixed_shape(scores)[2])
        found = _detection(shaped, boxes, scores, low, "the recipe says so")
        activation: Activation = overrides.activation(decode, kinds, "sigmoid")
        yield replace(
            found,
            sure="told",
            activation=activation,
            geometry=overrides.geometry(decode, None, _FRACTIONS),
            background=overrides.background(decode),
            classes=overrides.foreground(decode, found.classes),
            decode=decode,
        )


def _detection(
    shaped: ConcreteGraph, boxes: gs.Tensor, scores: gs.Tensor, low: int, why: str
) -> Detection:
    tensors = [boxes] if boxes is scores else [boxes, scores]
    classes, count = int(fixed_shape(scores)[2]) - low, int(fixed_shape(boxes)[1])
    shown = " and ".join(f"{tensor.name} {overrides.shown(tensor)}" for tensor in tensors)
    why = f"{shown} is {count} {FORM} with {overrides.count(classes, 'class')}: {why}"
    return Detection(
        FORM,
        tuple(tensor.name for tensor in tensors),
        (2,) * len(tensors),
        _FRACTIONS,
        count,
        classes,
        shaped.size,
        why,
        suppress=False,
    )


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that give boxes in pixels and final scores of the queries."""
    tensors = [rows(graph, detection, index) for index in range(len(detection.outputs))]
    boxes, scores = tensors[0], tensors[-1]
    if len(tensors) == 1:
        last = 4 + detection.score_channels
        boxes, scores = (
            channels(graph, boxes, 0, 4, "box_channels"),
            channels(graph, boxes, 4, last, "class_channels"),
        )
    return Decoded(
        in_pixels(graph, boxes, detection),
        detection.coding,
        final_scores(graph, scores, detection),
        {},
    )
