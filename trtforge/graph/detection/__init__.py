"""Recognise what a model's outputs are, and decode a detector's boxes and scores.

Shapes and structure decide, never names. Each form of output has a module of its own with three
functions: ``find`` gives what the graph proves, or what it looks like; ``hinted`` gives what the
recipe's word makes of the outputs; ``decode`` adds the nodes that turn them into boxes in pixels
and final scores.

==================
======================================================================================= form models
==================
=======================================================================================
``objectness`` YOLOv3, v4, v5, v6, v7, YOLOX, decoded ``anchor-free`` YOLOv8, v9, v11, v12, v13;
with masks, key points, angles ``boxes-scores`` PP-YOLOE, DAMO-YOLO, YOLO-NAS, YOLOv4; SSD,
RetinaNet and EfficientDet, decoded ``queries`` DETR, RT-DETR, D-FINE ``ranked`` YOLOv10, YOLO26;
RT-DETR with its post-processor ``yolo-anchors`` YOLOv3, v4, v5, v7, raw maps ``yolox-raw`` YOLOX,
not decoded ``distances`` YOLOv6, v8 and later, raw maps ``priors`` SSD, RetinaFace, RetinaNet,
EfficientDet, not decoded ==================
=======================================================================================

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
from trtforge.graph.edit.nodes import first_image
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
        hint: a form. Its word is taken where an output has the ranks and channels for it, and the
            structure no more than tells what the recipe leaves open. Where none has, what the graph
            proves counts.
        figures: the recipe's, for the hint; without one they decide what the graph makes likely,
            and no more.

    Raises:
        ForgeError: the hint is not a form, or lacks figures that it needs.
    """
    if hint is not None and hint not in get_args(HeadForm):
        raise ForgeError(
            f"'{hint}' is not a form of detector", f"one of: {', '.join(get_args(HeadForm))}"
        )
    seen = None if existing_nms(graph) is not None else concrete(graph)
    if seen is None:
        return None
    figures = figures or Decode()
    if hint:
        form = cast(HeadForm, hint)
        told = next(_declared(graph, _FORMS[form].hinted(seen, form, figures)), None)
        if told:
            return told
    found = list(_declared(graph, _found(seen)))
    certain = next((each for each in found if each.sure == "certain"), None)
    likely = next(iter(found), None)
    if certain or likely is None or figures == Decode():
        return certain
    return next(_declared(graph, _FORMS[likely.form].hinted(seen, likely.form, figures)), None)


def looks_like(graph: gs.Graph) -> list[Detection]:
    """Return what the outputs may be, where the graph alone does not decide it."""
    seen = None if existing_nms(graph) is not None else concrete(graph)
    return (
        []
        if seen is None
        else [found for found in _declared(graph, _found(seen)) if found.sure == "likely"]
    )


def _found(seen: ConcreteGraph) -> Iterator[Detection]:
    for module in dict.fromkeys(_FORMS.values()):
        yield from module.find(seen)


def _declared(graph: gs.Graph, found: Iterator[Detection]) -> Iterator[Detection]:
    """Yield the detections without what only holds for the size that stands in for a dynamic one."""
    image = first_image(graph)
    fixed = image is not None and all(isinstance(side, int) for side in sides(image)[2:])
    for detection in found:
        yield detection if fixed else replace(detection, boxes=None, size=None)


def existing_nms(graph: gs.Graph) -> gs.Node | None:
    """Return the node that suppresses boxes already: TensorRT's plugin, NonMaxSuppression, or None."""
    return next((node for node in graph.nodes if node.op in (*PLUGINS, "NonMaxSuppression")), None)


def decode(graph: gs.Graph, detection: Detection) -> Decoded:
    """Add nodes that give boxes in pixels and final scores; the graph's outputs stay as they are.

    Raises:
        ForgeError: the decode needs the input's height and width, which are dynamic.
    """
    decoded: Decoded = _FORMS[detection.form].decode(graph, detection)
    return decoded
