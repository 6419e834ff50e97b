"""From an engine's outputs to objects in the pixels of the image they are on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtforge.calibration.images import Fit, fit
from trtforge.errors import ForgeError
from trtforge.evaluate.models import OpenedModel
from trtforge.graph.nms import OUTPUTS
from trtforge.recipe import Nms, Preprocess

if TYPE_CHECKING:
    from trtforge.graph.detection import Detection


@dataclass(frozen=True)
class Objects:
    """The objects on one image, best first.

    Attributes:
        boxes: float64 of shape (K, 4): left, top, right, bottom in pixels of the image, inside it.
        scores: float64 of shape (K,), 0..1.
        classes: int64 of shape (K,).
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def above(self, score: float) -> Objects:
        keep = self.scores >= score
        return Objects(self.boxes[keep], self.scores[keep], self.classes[keep])


Finder = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]


def finder(engine: OpenedModel, nms: Nms) -> Finder:
    """What turns the engine's outputs for one image into boxes in pixels of the input, scores and
    classes.

    Args:
        nms: thresholds for raw decoded outputs; NMS inside the graph has its own.

    Raises:
        ForgeError: the outputs are not those of a detector.
    """
    if engine.detection:
        return _raw(engine, engine.detection, nms)
    if set(OUTPUTS) <= set(engine.outputs):
        return lambda outputs: _first(*(outputs[name] for name in OUTPUTS))
    found = ", ".join(f"{name} {list(shape)}" for name, shape in engine.outputs.items())
    raise ForgeError(
        f"{engine.path}: no detector's outputs: {found}",
        "a detector needs decoded boxes and scores as outputs",
    )


def to_image(
    boxes: np.ndarray, height: int, width: int, size: tuple[int, int], spec: Preprocess
) -> np.ndarray:
    """Boxes (K, 4) from pixels of the network's input to pixels of an image of that height and
    width, clipped to it.

    The way back of nvinfer's letterbox: minus the bars, by the ratio of each side.
    """
    place: Fit = fit(height, width, size, spec.letterbox)
    origin = np.array([place.left, place.top] * 2, np.float64)
    ratio = np.array([place.width / width, place.height / height] * 2, np.float64)
    limit = np.array([width, height] * 2, np.float64)
    inside: np.ndarray = np.clip((boxes.astype(np.float64) - origin) / ratio, 0, limit)
    return inside


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (A, 4) with boxes (B, 4), corners: float64 of shape (A, B)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlap: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def agreement(one: Objects, other: Objects, least_iou: float = 0.5) -> tuple[int, int]:
    """How many objects the two have in common, and how many there are in either.

    Best scores first, each object is paired with the one of its class that overlaps it most.
    """
    free = np.ones(len(other.scores), bool)
    overlaps = iou(one.boxes, other.boxes)
    pairs = 0
    for index in range(len(one.scores)):
        candidates = np.where(free & (other.classes == one.classes[index]), overlaps[index], 0.0)
        if candidates.size and candidates.max() >= least_iou:
            free[int(candidates.argmax())] = False
            pairs += 1
    return pairs, len(one.scores) + len(other.scores) - pairs


def _raw(engine: OpenedModel, detection: Detection, nms: Nms) -> Finder:
    """NMS of decoded outputs, by the very operators that ``patch --nms onnx`` puts into a graph."""
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
    held = [
        gs.Node(
            "Identity",
            f"held{index}",
            inputs=[tensor],
            outputs=[gs.Variable(f"held{index}", np.float32)],
        )
        for index, tensor in enumerate(graph.inputs)
    ]
    graph.nodes.extend(held)  # a tensor belongs to a graph once a node reads it
    graph.outputs = list(
        suppress(graph, decode(graph, detection), detection, NmsOptions(**nms.model_dump())).four
    )
    for tensor, name in zip(graph.outputs, OUTPUTS, strict=True):
        tensor.name = name
    tail = session(exported(graph.cleanup().toposort()).SerializeToString(), threads=1)

    def find(outputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = tail.run(list(OUTPUTS), {name: outputs[name] for name in detection.outputs})
        return _first(*found)

    return find


def _first(
    count: np.ndarray, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of the first image that hold an object."""
    valid = int(count.reshape(-1)[0])
    return (
        boxes[0, :valid],
        scores[0, :valid].astype(np.float64),
        classes[0, :valid].astype(np.int64),
    )
