"""Turn an engine's outputs into objects in pixels of the image, and compare objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtforge.calibration.images import fit
from trtforge.errors import ForgeError
from trtforge.evaluate.models import Array, OpenedModel
from trtforge.graph.nms import OUTPUTS
from trtforge.recipe import Nms, Preprocess

if TYPE_CHECKING:
    from trtforge.graph.detection import Detection


@dataclass(frozen=True)
class Objects:
    """The objects on one image, best first.

    Attributes:
        boxes: float64 of shape (K, 4): left, top, right, bottom, in pixels and inside the image.
        scores: float64 of shape (K,), 0..1.
        classes: int64 of shape (K,).
    """

    boxes: Array
    scores: Array
    classes: Array

    def above(self, score: float) -> Objects:
        """Return the objects with at least this score."""
        keep = self.scores >= score
        return Objects(self.boxes[keep], self.scores[keep], self.classes[keep])


# Outputs by name -> boxes (K, 4) in pixels of the input, scores (K,), classes (K,).
Finder = Callable[[Mapping[str, Array]], tuple[Array, Array, Array]]


def finder(engine: OpenedModel, nms: Nms) -> Finder:
    """Return the function that reads objects from the engine's outputs for one image.

    Args:
        nms: thresholds for raw decoded outputs; an NMS inside the graph has its own.

    Raises:
        ForgeError: the engine is not a detector.
    """
    if engine.detection:
        return _raw_finder(engine, engine.detection, nms)
    if set(OUTPUTS) <= set(engine.outputs):
        return lambda outputs: _first_image(*(outputs[name] for name in OUTPUTS))
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in engine.outputs.items())
    raise ForgeError(
        f"{engine.path}: the outputs are not a detector's: {shapes}",
        "give a detector: its outputs are decoded boxes and scores",
    )


def to_image(
    boxes: Array, height: int, width: int, size: tuple[int, int], spec: Preprocess
) -> Array:
    """Convert boxes from pixels of the network's input to pixels of an image.

    This inverts nvinfer's letterbox: subtract the bars, then divide by the ratio of each side.

    Args:
        boxes: corners, of shape (K, 4).
        height, width: of the image; boxes are clipped to it.
        size: height and width of the network's input.
    """
    place = fit(height, width, size, spec.letterbox)
    origin = np.array([place.left, place.top] * 2, np.float64)
    ratio = np.array([place.width / width, place.height / height] * 2, np.float64)
    limit = np.array([width, height] * 2, np.float64)
    inside: Array = np.clip((boxes.astype(np.float64) - origin) / ratio, 0, limit)
    return inside


def iou(one: Array, other: Array) -> Array:
    """Return intersection over union of all pairs of boxes.

    Args:
        one: corners, of shape (A, 4).
        other: corners, of shape (B, 4).

    Returns:
        float64 of shape (A, B).
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared: Array = np.clip(high - low, 0, None).prod(2)
    union: Array = _area(one)[:, None] + _area(other)[None, :] - shared
    overlap: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def _area(boxes: Array) -> Array:
    area: Array = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def agreement(one: Objects, other: Objects, least_iou: float = 0.5) -> tuple[int, int]:
    """Count the objects that both have in common, and the objects that at least one has.

    Starting with the best score, each object is paired with the object of the same class that
    overlaps it most.
    """
    free = np.ones(len(other.scores), bool)
    overlaps = iou(one.boxes, other.boxes)
    pairs = 0
    for index in range(len(one.scores)):
        candidates: Array = np.where(
            free & (other.classes == one.classes[index]), overlaps[index], 0.0
        )
        if candidates.size and candidates.max() >= least_iou:
            free[int(candidates.argmax())] = False
            pairs += 1
    return pairs, len(one.scores) + len(other.scores) - pairs


def _raw_finder(engine: OpenedModel, detection: Detection, nms: Nms) -> Finder:
    """Return NMS on decoded outputs, by the operators that ``patch --nms onnx`` adds to a graph."""
    import onnx_graphsurgeon as gs

    from trtforge.backends.onnxruntime import session
    from trtforge.graph.detection import decode
    from trtforge.graph.model import exported
    from trtforge.graph.nms import NmsOptions, suppress

    graph = gs.Graph(opset=19)
    graph.inputs = [
        gs.Variable(name, np.float32, ["batch", *engine.outputs[name]])
        for name in detection.outputs
    ]
    # A tensor belongs to a graph only when a node reads it.
    for index, tensor in enumerate(graph.inputs):
        output = gs.Variable(f"held{index}", np.float32)
        graph.nodes.append(gs.Node("Identity", output.name, inputs=[tensor], outputs=[output]))
    kept = suppress(graph, decode(graph, detection), detection, NmsOptions(**nms.model_dump()))
    graph.outputs = list(kept.four)
    for tensor, name in zip(graph.outputs, OUTPUTS, strict=True):
        tensor.name = name
    tail = session(exported(graph.cleanup().toposort()).SerializeToString(), threads=1)

    def find(outputs: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        results = tail.run(list(OUTPUTS), {name: outputs[name] for name in detection.outputs})
        return _first_image(*results)

    return find


def _first_image(
    count: Array, boxes: Array, scores: Array, classes: Array
) -> tuple[Array, Array, Array]:
    """Return the rows of the first image that contain an object."""
    valid = int(count.reshape(-1)[0])
    return (
        boxes[0, :valid],
        scores[0, :valid].astype(np.float64),
        classes[0, :valid].astype(np.int64),
    )
