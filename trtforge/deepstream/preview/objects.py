"""Compute the objects that nvinfer finds in a detector's outputs, with NumPy.

The steps are the parser, the thresholds, the clustering, and the scaling to the frame. Every step
computes in float32 and in nvinfer's order, as its published source does (DeepStream 9.1:
nvdsinfer's output parsing, the stock parser library, gst-nvinfer's metadata). Boxes are left, top,
width, height.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trtforge.calibration.images import Fit
from trtforge.deepstream.preview.settings import NMS, ClassAttributes, Settings
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from trtforge.graph.detection import Detection

BELOW = "they reach below the frame (crop-objects-to-roi-boundary=1 would cut them), or roi-bottom-offset"
Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Found:
    """Objects.

    Attributes:
        boxes: float32 of shape (K, 4): left, top, width, height in pixels, of the network's input
            or of the frame.
        scores: float32 of shape (K,), 0..1.
        classes: int64 of shape (K,).
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def at(self, which: Any) -> Found:
        """Return the objects at some positions, or under a mask."""
        return Found(self.boxes[which], self.scores[which], self.classes[which])


# -----------------------------------------------------------------------------------------------------
# parsers


def tf_ssd(outputs: Outputs, size: tuple[int, int], thresholds: np.ndarray) -> Found:
    """Parse as NvDsInferParseCustomTfSSD does: y1, x1, y2, x2 as shares of the input.

    Args:
        outputs: of one image, without the batch.
        size: height and width of the network's input.
        thresholds: pre-cluster-threshold of each class.

    Raises:
        ForgeError: an output is missing or not float32; nvinfer's log then says so at every frame.
    """
    wanted = ("detection_boxes", "detection_scores", "detection_classes")
    missing = [name for name in wanted if name not in outputs or outputs[name].dtype != np.float32]
    if missing:
        raise ForgeError(
            f"the parser finds no float32 output {missing[0]!r}", "build with --nms deepstream"
        )
    boxes, scores, labels = (outputs[name] for name in wanted)
    count = labels.shape[0]
    # An int32 count comes from EfficientNMS and is not used: its padding has score 0.
    numbers = outputs.get("num_detections")
    if numbers is not None and numbers.dtype == np.float32:
        count = min(count, max(0, int(numbers.reshape(-1)[0])))
    height, width = size
    limits = np.array([height, width, height, width], np.float32)
    y1, x1, y2, x2 = np.clip(boxes[:count].reshape(-1, 4) * limits, np.float32(0), limits - 1).T
    found = Found(
        np.stack([x1, y1, x2 - x1, y2 - y1], 1), scores[:count], labels[:count].astype(np.int64)
    )
    return _above(found.at((found.boxes[:, 2:] > 0).all(1)), thresholds)


def raw_heads(
    outputs: Outputs, detection: Detection, size: tuple[int, int], thresholds: np.ndarray
) -> Found:
    """Parse as the C++ parser does that `trtforge deepstream parser` writes.

    Args:
        outputs: of one image, without the batch.
        detection: form of the model's outputs.
        size: height and width of the network's input.
        thresholds: pre-cluster-threshold of each class.
    """
    first, *others = (outputs[name].astype(np.float32) for name in detection.outputs)
    rows = first.T if detection.axes[0] == 1 else first
    begin, end = detection.first_class, detection.first_class + (detection.classes or 0)
    scores = (others[0] if others else rows)[:, begin:end]
    if detection.form == "objectness":
        scores = rows[:, 4:5] * scores
    scores = scores[:, : len(thresholds)]
    over = scores >= thresholds.astype(np.float32)[: scores.shape[1]]
    at, labels = np.nonzero(over & np.isfinite(rows[:, :4]).all(1, keepdims=True))
    low, high = rows[at, 0:2], rows[at, 2:4]
    if detection.coding == "centre":
        half = high * np.float32(0.5)
        low, high = low - half, low + half
    limits = np.array(size[::-1], np.float32)
    low, high = np.clip(low, np.float32(0), limits), np.clip(high, np.float32(0), limits)
    found = Found(np.concatenate([low, high - low], 1), scores[at, labels], labels.astype(np.int64))
    return found.at((high > low).all(1))


def _above(found: Found, thresholds: np.ndarray) -> Found:
    """Return the objects without those under their class's threshold."""
    known = found.at((found.classes >= 0) & (found.classes < len(thresholds)))
    return known.at(~(known.scores < thresholds.astype(np.float32)[known.classes]))


# --------------------------------------------------------------------------------------------------
# clustering


def cluster(found: Found, classes: Sequence[ClassAttributes], mode: int) -> Found:
    """Cluster each class: NMS and threshold in mode 2, neither in mode 4, then topk."""
    found = _above(found, np.array([each.pre_cluster for each in classes]))
    kept = []
    for label, attributes in enumerate(classes):
        mine = np.flatnonzero(found.classes == label)
        if mode == NMS:
            mine = mine[np.argsort(-found.scores[mine], kind="stable")]
            mine = mine[_suppress(found.boxes[mine], np.float32(attributes.iou))]
            mine = mine[found.scores[mine] > np.float32(attributes.post_cluster)]
        if attributes.topk >= 0:
            mine = mine[np.argsort(-found.scores[mine], kind="stable")][: attributes.topk]
        kept.append(mine)
    return found.at(np.concatenate(kept))


def _suppress(boxes: np.ndarray, limit: np.float32) -> np.ndarray:
    """Return which boxes stay of those in falling order of score, so that none overlap too much."""
    left, top, width, height = boxes.T
    right, bottom, area = left + width, top + height, width * height
    rest, kept = np.arange(len(boxes)), []
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        wide = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        high = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(wide, np.float32(0)) * np.maximum(high, np.float32(0))
        union = area[best] + area[rest] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union != 0)
        rest = rest[overlap <= limit]
    return np.array(kept, np.int64)


# -------------------------------------------------------------------------------------------------------
# frame


def to_frame(
    found: Found, place: Fit, frame: tuple[int, int], settings: Settings
) -> tuple[Found, Counter[str]]:
    """Return objects in pixels of the frame, as gst-nvinfer does, and how many it dropped and why.

    A box over the frame's top is moved down to it. One that reaches below the bottom is dropped,
    which the bars of a letterboxed input make easy, unless crop-objects-to-roi-boundary is set: it
    is then cut.

    Args:
        found: in pixels of the network's input.
        place: where the frame lies inside the input.
        frame: height and width that were scaled.
        settings: sizes, offsets and classes that count.
    """
    height, width = frame
    ratio = np.array([place.width / width, place.height / height])
    boxes = found.boxes.astype(np.float64)
    low = np.maximum((boxes[:, :2] - (place.left, place.top)) / ratio, 0)
    boxes = np.concatenate([low, boxes[:, 2:] / ratio], 1)
    limits = {
        name: np.array(
            [getattr(settings.classes[label], name) for label in found.classes], np.float64
        )
        for name in ("min_width", "min_height", "max_width", "max_height", "roi_top", "roi_bottom")
    }
    floor = height - limits["roi_bottom"]
    checks = {
        "their class is in filter-out-class-ids": np.isin(found.classes, list(settings.hidden)),
        "they are too small": (boxes[:, 2] < limits["min_width"])
        | (boxes[:, 3] < limits["min_height"]),
        "they are too large": _over(boxes[:, 2], limits["max_width"])
        | _over(boxes[:, 3], limits["max_height"]),
    }
    if settings.crop:
        boxes = _cut(boxes, width, limits["roi_top"], floor)
    else:
        checks["they reach above roi-top-offset"] = boxes[:, 1] < limits["roi_top"]
        checks[BELOW] = boxes[:, 1] + boxes[:, 3] > floor
    stay = np.ones(len(boxes), bool)
    dropped: Counter[str] = Counter()
    for reason, hit in checks.items():
        dropped[reason] += int((stay & hit).sum())
        stay &= ~hit
    return Found(boxes[stay], found.scores[stay], found.classes[stay]), +dropped


def _over(side: np.ndarray, limit: np.ndarray) -> np.ndarray:
    over: np.ndarray = (limit > 0) & (side > limit)
    return over


def _cut(boxes: np.ndarray, width: int, roi_top: np.ndarray, floor: np.ndarray) -> np.ndarray:
    left, top, wide, high = boxes.T
    top = np.maximum(top, roi_top)
    return np.stack([left, top, np.minimum(wide, width - left), np.minimum(high, floor - top)], 1)
