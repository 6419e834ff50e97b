"""Recognise a detector's outputs, and decode its boxes and scores.

Shapes and structure decide, never names. Each form of output has a module of its own with three
functions: ``find`` yields what the graph proves or makes likely; ``hinted`` yields the outputs that
fit the form which the recipe names; ``decode`` adds the nodes that give boxes in pixels and final
scores.

- ``objectness``: YOLOv3, v4, v5, v6, v7, YOLOX, decoded.
- ``anchor-free``: YOLOv8, v9, v11, v12, v13; with masks, key points, angles.
- ``boxes-scores``: PP-YOLOE, DAMO-YOLO, YOLO-NAS, YOLOv4; SSD, RetinaNet, EfficientDet, decoded.
- ``queries``: DETR, RT-DETR, D-FINE.
- ``ranked``: YOLOv10, YOLO26; RT-DETR with its post-processor.
- ``yolo-anchors``: YOLOv3, v4, v5, v7, raw maps.
- ``yolox-raw``: YOLOX, not decoded.
- ``distances``: YOLOv6, v8 and later, raw maps.
- ``priors``: SSD, RetinaFace, RetinaNet, EfficientDet, not decoded.

The decode of the last four is not in their graphs: they are only ever "likely" until a recipe names
the form.
Everything here works on one in-memory graph, edits it in place, and neither reads files nor logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import cast, get_args

import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import anchors, distances, pair, priors, queries, ranked, rows, yolox
from trtforge.graph.detection.concrete import ConcreteGraph, concrete
from trtforge.graph.detection.decoding import Decoded, corners_of, to_corners
from trtforge.graph.detection.records import Coding, Detection, Extra, Geometry, Size
from trtforge.graph.detection.tasks import without_boxes
from trtforge.graph.edit.nodes import first_image, upstream
from trtforge.graph.heads import decode as after_heads
from trtforge.graph.tensors import sides
from trtforge.recipe import Decode, HeadForm

__all__ = [
    "Coding",
    "Decoded",
    "Detection",
    "Extra",
    "Geometry",
    "Size",
    "corners_of",
    "decode",
    "existing_nms",
    "looks_like",
    "recognise",
    "to_corners",
    "without_boxes",
]

PLUGINS = ("EfficientNMS_TRT", "BatchedNMS_TRT", "BatchedNMSDynamic_TRT")

_FORMS: dict[HeadForm, ModuleType] = {
    "boxes-scores": pair,
    "objectness": rows,
    "anchor-free": rows,
    "ranked": ranked,
    "queries": queries,
    "yolox-raw": yolox,
    "yolo-anchors": anchors,
    "distances": distances,
    "priors": priors,
}


def recognise(
    graph: gs.Graph, hint: str | None = None, figures: Decode | None = None
) -> Detection | None:
    """Return the detector in a graph, or None.

    Args:
        graph: left untouched. A graph that already suppresses boxes is not recognised; see
            `existing_nms`.
        hint: a form. It is used where an output has the ranks and channels for it; the structure
            then only fills in what the recipe leaves open. Where no output fits, the hint is
            ignored.
        figures: the recipe's figures for the hint. Without a hint they only complete a form that
            the graph makes likely.

    Raises:
        ForgeError: the hint is not a form, or lacks figures that it needs.
    """
    if hint is not None and hint not in get_args(HeadForm):
        raise ForgeError(
            f"'{hint}' is not a form of detector", f"one of: {', '.join(get_args(HeadForm))}"
        )
    shaped = None if existing_nms(graph) is not None else concrete(graph)
    if shaped is None:
        return None
    figures = figures or Decode()
    if hint:
        form = cast(HeadForm, hint)
        declared = next(_declared(graph, _FORMS[form].hinted(shaped, form, figures)), None)
        if declared:
            return declared
    candidates = list(_declared(graph, _candidates(shaped)))
    certain = next((detection for detection in candidates if detection.sure == "certain"), None)
    likely = next(iter(candidates), None)
    if certain or likely is None or figures == Decode():
        return certain
    return next(_declared(graph, _FORMS[likely.form].hinted(shaped, likely.form, figures)), None)


def looks_like(graph: gs.Graph) -> list[Detection]:
    """Return what the outputs may be, where the graph alone does not decide it."""
    shaped = None if existing_nms(graph) is not None else concrete(graph)
    if shaped is None:
        return []
    candidates = _declared(graph, _candidates(shaped))
    return [detection for detection in candidates if detection.sure == "likely"]


def _candidates(shaped: ConcreteGraph) -> Iterator[Detection]:
    for module in dict.fromkeys(_FORMS.values()):
        yield from module.find(shaped)


def _declared(graph: gs.Graph, detections: Iterator[Detection]) -> Iterator[Detection]:
    """Yield the detections; without box count and size where the image's sides are dynamic."""
    image = first_image(graph)
    fixed = image is not None and all(isinstance(side, int) for side in sides(image)[2:])
    for detection in detections:
        yield detection if fixed else replace(detection, boxes=None, size=None)


def existing_nms(graph: gs.Graph) -> gs.Node | None:
    """Return the node that suppresses boxes already, or None.

    It is TensorRT's plugin, NonMaxSuppression, or the Trilu by which exporters compare the pairs of
    the oriented boxes that a TopK has selected. torchvision's stands in the branches of an If.
    """
    bodies = graph.subgraphs(recursive=True)
    for node in [*graph.nodes, *(node for body in bodies for node in body.nodes)]:
        if node.op in (*PLUGINS, "NonMaxSuppression"):
            return node
    triangles = [node for node in graph.nodes if node.op == "Trilu"]
    after = {id(node) for node in after_heads(graph)} if triangles else set()
    for node in triangles:
        selected = any(step.op == "TopK" and id(step) in after for step in upstream(*node.inputs))
        if selected and id(node) in after:
            return node
    return None


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that give boxes in pixels and final scores; the graph's outputs stay as they are.

    Raises:
        ForgeError: the decode needs the input's height and width, which are dynamic.
    """
    decoded: Decoded = _FORMS[detection.form].decode(graph, detection)
    return decoded
