"""Find the detector before a model's own NMS.

The NMS may read all boxes and scores. But exporters also move the boxes of each class apart
(``boxes + class * 640``), so that one pass over all boxes suppresses within classes: yolov7 with
``--end2end --max-wh``, Ultralytics with ``nms=True``. They select the best class of each box, or
every class above the score.
Oriented boxes are compared by operators, in a table of all pairs of which Trilu keeps one half. The
NMS then reads what ReduceMax, ArgMax, NonZero and Gather made of the rows, but the rows themselves
are in the graph. They are recognised there as if they were its outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import Detection, existing_nms, pair, rows
from trtforge.graph.detection.concrete import ConcreteGraph, concrete
from trtforge.graph.detection.sources import known
from trtforge.graph.edit.nodes import batch_dim, upstream
from trtforge.graph.heads import decode
from trtforge.graph.nms.options import MAX_DETECTIONS
from trtforge.graph.tensors import fixed_shape

_BEST = {"ReduceMax", "ArgMax", "TopK"}
_SELECTED = _BEST | {"NonZero"}
_COMPARE = {"Greater", "GreaterOrEqual"}


@dataclass(frozen=True)
class InnerNms:
    """The NMS that a model brought along, and what it was cut from.

    Attributes:
        op: operator that suppressed boxes.
        detection: the detector before it.
        plain: it reads all boxes, and their scores by class.
        score, iou, max_det: its thresholds; None where the graph does not show one.
        class_agnostic: whether it suppressed across classes: nothing moves them apart.
    """

    op: str
    detection: Detection
    plain: bool
    score: float | None
    iou: float | None
    max_det: int | None
    class_agnostic: bool

    @property
    def limits(self) -> dict[str, float | int | bool | None]:
        """The thresholds under their names in a recipe."""
        return {
            "score": self.score,
            "iou": self.iou,
            "max_det": self.max_det,
            "class_agnostic": self.class_agnostic,
            "best_class": self.detection.best_class,
        }


def inner_nms(graph: gs.Graph) -> InnerNms | None:
    """Return the model's own NMS and the detector before it; None where one of them is not there.

    Args:
        graph: left untouched.
    """
    node = existing_nms(graph)
    if node is None or node.op.endswith("_TRT"):
        return None
    shaped = concrete(graph)
    twin = existing_nms(shaped.fixed) if shaped else None
    if shaped is None or twin is None:
        return None
    before = _after_heads(shaped.fixed, twin)
    count = _rows(shaped.fixed.outputs)
    plain = not any(step.op in _SELECTED for step in before)
    found = _whole(shaped, twin) if plain else _detectors(shaped, before)
    detection = next(found, None)
    if detection is None:
        return None
    return InnerNms(
        op=node.op,
        detection=replace(detection, best_class=any(_numbers(step) for step in before)),
        plain=plain,
        score=_score(twin, before),
        iou=_iou(twin),
        max_det=count,
        class_agnostic=not plain and not _moved_apart(twin, before),
    )


def _after_heads(graph: gs.Graph, node: gs.Node) -> list[gs.Node]:
    """Return, the last ones first, the nodes before the NMS that no learned operator follows."""
    after = {id(step) for step in decode(graph)}
    before = {id(step) for step in upstream(*node.inputs)} & after
    return [step for step in reversed(graph.nodes) if id(step) in before]


def _whole(shaped: ConcreteGraph, node: gs.Node) -> Iterator[Detection]:
    """Yield the certain detector whose boxes and scores, of every class, the NMS reads itself."""
    if node.op == "NonMaxSuppression" and all(known(tensor) for tensor in node.inputs[:2]):
        shaped.fixed.outputs = list(node.inputs[:2])
        yield from (found for found in pair.find(shaped) if found.sure == "certain")


def _detectors(shaped: ConcreteGraph, before: list[gs.Node]) -> Iterator[Detection]:
    """Yield the certain detectors among the tensors that the NMS is computed from, its own first."""
    tensors = [tensor for step in before for tensor in step.outputs if known(tensor)]
    # Exporters fill up a dynamic batch to the one that they have unrolled the NMS for.
    batch = batch_dim(shaped.fixed)
    flat = [
        tensor
        for tensor in tensors
        if len(fixed_shape(tensor)) == 3 and fixed_shape(tensor)[0] == batch
    ]
    maps = [tensor for tensor in shaped.fixed.outputs if len(tensor.shape or ()) == 4]
    for tensor in flat:
        shaped.fixed.outputs = [tensor, *maps]  # of the copy that recognisers look at
        yield from (found for found in rows.find(shaped) if found.sure == "certain")
    for scores in _ranked_scores(before):
        moved = _downstream(before, scores)
        for boxes in flat:
            if boxes is scores or id(boxes) in moved or fixed_shape(boxes)[2] != 4:
                continue
            shaped.fixed.outputs = [boxes, scores]
            yield from (found for found in pair.find(shaped) if found.sure == "certain")


def _moved_apart(node: gs.Node, before: list[gs.Node]) -> bool:
    """Tell whether the boxes that the NMS compares depend on the number of their class."""
    numbers = [found for step in before if (found := _numbers(step))]
    if numbers:
        return any(id(node.inputs[0]) in _downstream(before, number) for number in numbers)
    # NonZero gives rows and classes together. The classes move boxes where something is added to
    # boxes that were selected.
    selections = [step.outputs[0] for step in before if step.op == "NonZero"]
    after = set().union(*(_downstream(before, indices) for indices in selections))
    return any(
        step.op == "Add" and all(id(read) in after for read in step.inputs)
        for step in before
        if id(step.outputs[0]) in after
    )


def _numbers(step: gs.Node) -> gs.Tensor | None:
    """Return the numbers of the best classes that a node takes from scores `(B, N, C)`."""
    scores = step.inputs[0] if step.op in {"ArgMax", "TopK"} else None
    if scores is None or not known(scores) or len(fixed_shape(scores)) != 3:
        return None
    return step.outputs[-1]


def _ranked_scores(before: list[gs.Node]) -> Iterator[gs.Tensor]:
    """Yield the scores `(B, N, C)` of which each box's best class is taken."""
    for step in before:
        scores = step.inputs[0] if step.op in _BEST else None
        if scores is not None and known(scores) and len(fixed_shape(scores)) == 3:
            yield scores


def _downstream(nodes: list[gs.Node], tensor: gs.Tensor) -> set[int]:
    """Return the ids of the tensors that are computed from a tensor: the classes' offsets, too."""
    found = {id(tensor)}
    for step in reversed(nodes):
        if any(id(read) in found for read in step.inputs):
            found |= {id(made) for made in step.outputs}
    return found


def _score(node: gs.Node, before: list[gs.Node]) -> float | None:
    """Return the score threshold: of the NMS itself, or of a comparison that filters boxes."""
    limit = _number(node, 4) if node.op == "NonMaxSuppression" else None
    comparisons = [step for step in before if step.op in _COMPARE]
    limits = [limit, *(_number(step, 1) for step in comparisons)]
    return next((value for value in limits if value is not None and 0 <= value < 1), None)


def _iou(node: gs.Node) -> float | None:
    """Return the IoU threshold; a table of overlaps is compared with it after Trilu."""
    if node.op == "NonMaxSuppression":
        return _number(node, 3)
    comparisons = [reader for reader in node.outputs[0].outputs if reader.op in _COMPARE]
    limits = [_number(step, 1) for step in comparisons]
    return next((value for value in limits if value is not None and 0 < value <= 1), None)


def _rows(outputs: list[gs.Tensor]) -> int | None:
    """Return K, where an output `(B, K, channels)` of the model holds a fixed number of rows."""
    for tensor in outputs:
        if known(tensor) and len(fixed_shape(tensor)) == 3:
            count = fixed_shape(tensor)[1]
            return count if count <= MAX_DETECTIONS else None
    return None


def _number(node: gs.Node, index: int) -> float | None:
    """Return the one number of a constant input, or None."""
    tensor = node.inputs[index] if index < len(node.inputs) else None
    if not isinstance(tensor, gs.Constant) or tensor.values.size != 1:
        return None
    value = float(str(tensor.values.ravel()[0]))  # 0.7, and not the double that a float32 0.7 is
    return value if np.isfinite(value) else None
