"""Every family of detectors in small: a graph with its published output structure, and its decode
in NumPy.

Heads are one strided convolution a level on 64x64 images (`tests.models.head`), so that NumPy
starts from the image too. What comes after them is what the family's exporter writes; sources are
in `trtforge.graph.detection`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.models import (
    CELLS,
    CLASSES,
    SIDE,
    STRIDES,
    Sketch,
    anchors,
    boxes_of_sides,
    decoded_anchors,
    grid,
    head,
    sigmoid,
    sketch,
    weights,
)

# Corners (B, N, 4), scores (B, N, C), extras.
Reference = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
QUERIES, WIDTH = 20, 8
ANGLE, POINTS, MASKS = 1, 6, 4


@dataclass(frozen=True)
class Family:
    """A model, and what has to come of it.

    Attributes:
        build: the model, for a batch.
        decode: NumPy's own way from images to boxes, scores and extras.
        form: that is recognised, or that the recipe has to name.
        figures: the recipe's, where the form has to be told; None where the graph shows everything.
        suppress: whether boxes overlap; without, the best are only put in order.
        best: a box counts under its best class only.
        classes: known from the graph.
    """

    build: Callable[[Any], onnx.ModelProto]
    decode: Callable[[np.ndarray], Reference]
    form: str
    figures: dict[str, Any] | None = None
    suppress: bool = True
    best: bool = False
    classes: int = CLASSES
    extra: tuple[str, ...] = field(default=())


# -------------------------------------------------------------------------------------------------------
# pieces


def raw(image: np.ndarray, stride: int, channels: int) -> np.ndarray:
    """`(B, rows, columns, channels)` of `head`."""
    cells = SIDE // stride
    patches = image.reshape(-1, 3, cells, stride, cells, stride)
    return np.einsum("bcyixj,ocij->byxo", patches, weights(stride, channels))


def flat(image: np.ndarray, channels: int) -> np.ndarray:
    """`(B, 84, channels)`: every level's cells."""
    return np.concatenate(
        [raw(image, stride, channels).reshape(len(image), -1, channels) for stride in STRIDES], 1
    )


def columns(s: Sketch, channels: int) -> str:
    """`(B, channels, 84)`"""
    parts = [
        s.op("Reshape", head(s, stride, channels), s.ints(-1, channels, (SIDE // stride) ** 2))
        for stride in STRIDES
    ]
    return s.op("Concat", *parts, axis=2)


def cells() -> tuple[np.ndarray, np.ndarray]:
    """Column and row `(84, 2)` and stride `(84, 1)` of every cell."""
    at = np.concatenate([grid(stride).reshape(-1, 2) for stride in STRIDES])
    return at, np.concatenate([np.full(((SIDE // stride) ** 2, 1), stride) for stride in STRIDES])


def corners(centre: np.ndarray, extent: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - extent / 2, centre + extent / 2], -1)


def softmax(x: np.ndarray) -> np.ndarray:
    grown = np.exp(x - x.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def down(s: Sketch, x: str) -> str:
    return s.op("Transpose", x, perm=[0, 2, 1])


# ------------------------------------------------------------------------------- anchors: YOLOv3,
# v4, v5, v7

V4_SCALES = (1.2, 1.1, 1.05)
ANCHORS = [[[float(v) for v in pair] for pair in anchors(stride)] for stride in STRIDES]


def anchor_maps(five: bool) -> Callable[[Any], onnx.ModelProto]:
    def build(batch: Any) -> onnx.ModelProto:
        s, width, maps = sketch(), 5 + CLASSES, []
        for stride in STRIDES:
            side = SIDE // stride
            x = head(s, stride, 3 * width)
            if five:
                x = s.op(
                    "Transpose",
                    s.op("Reshape", x, s.ints(-1, 3, width, side, side)),
                    perm=[0, 1, 3, 4, 2],
                )
            maps.append(x)
        return s.model(*maps, batch=batch)

    return build


def anchor_decode(scales: tuple[float, ...], extent: str) -> Callable[[np.ndarray], Reference]:
    """`extent`: "square" for YOLOv5 and v7, "exp" for v3 and v4."""

    def decode(image: np.ndarray) -> Reference:
        boxes, scores = [], []
        for stride, scale in zip(STRIDES, scales, strict=True):
            x = raw(image, stride, 3 * (5 + CLASSES)).reshape(
                len(image), SIDE // stride, SIDE // stride, 3, -1
            )
            y = sigmoid(x)
            centre = (y[..., :2] * scale - (scale - 1) / 2 + grid(stride)[:, :, None]) * stride
            factor = (2 * y[..., 2:4]) ** 2 if extent == "square" else np.exp(x[..., 2:4])
            boxes.append(corners(centre, factor * anchors(stride)).reshape(len(image), -1, 4))
            scores.append((y[..., 4:5] * y[..., 5:]).reshape(len(image), -1, CLASSES))
        return np.concatenate(boxes, 1), np.concatenate(scores, 1), {}

    return decode


def yolov5(batch: Any) -> onnx.ModelProto:
    s, rows, width = sketch(), [], 5 + CLASSES
    for stride in STRIDES:
        side = SIDE // stride
        x = s.op("Reshape", head(s, stride, 3 * width), s.ints(-1, 3, width, side, side))
        y = decoded_anchors(
            s, s.op("Sigmoid", s.op("Transpose", x, perm=[0, 1, 3, 4, 2])), stride, width
        )
        rows.append(s.op("Reshape", y, s.ints(-1, 3 * side * side, width)))
    return s.model(s.op("Concat", *rows, axis=1), batch=batch)


def yolov3(batch: Any) -> onnx.ModelProto:
    s, rows, width = sketch(), [], 5 + CLASSES
    for stride in STRIDES:
        side = SIDE // stride
        x = s.op("Reshape", head(s, stride, 3 * width), s.ints(-1, 3, width, side, side))
        x = s.op("Transpose", x, perm=[0, 1, 3, 4, 2])
        centre = s.op(
            "Add", s.op("Sigmoid", s.slice(x, 0, 2, 4)), s.const(grid(stride)[None, None])
        )
        centre = s.op("Mul", centre, s.const(stride))
        extent = s.op(
            "Mul", s.op("Exp", s.slice(x, 2, 4, 4)), s.const(anchors(stride)[None, :, None, None])
        )
        y = s.op("Concat", centre, extent, s.op("Sigmoid", s.slice(x, 4, width, 4)), axis=4)
        rows.append(s.op("Reshape", y, s.ints(-1, 3 * side * side, width)))
    return s.model(s.op("Concat", *rows, axis=1), batch=batch)


def yolov4(batch: Any) -> onnx.ModelProto:
    """Boxes `(B, N, 1, 4)` as corners in fractions, and scores with objectness inside."""
    s, boxes, scores, width = sketch(), [], [], 5 + CLASSES
    for stride, scale in zip(STRIDES, V4_SCALES, strict=True):
        side = SIDE // stride
        x = s.op("Reshape", head(s, stride, 3 * width), s.ints(-1, 3, width, side, side))
        x = s.op("Transpose", x, perm=[0, 1, 3, 4, 2])
        y = s.op("Sigmoid", x)
        moved = s.op(
            "Sub", s.op("Mul", s.slice(y, 0, 2, 4), s.const(scale)), s.const((scale - 1) / 2)
        )
        centre = s.op("Div", s.op("Add", moved, s.const(grid(stride)[None, None])), s.const(side))
        sizes = anchors(stride)[None, :, None, None] / SIDE
        half = s.op(
            "Mul", s.op("Mul", s.op("Exp", s.slice(x, 2, 4, 4)), s.const(sizes)), s.const(0.5)
        )
        both = s.op("Concat", s.op("Sub", centre, half), s.op("Add", centre, half), axis=4)
        boxes.append(s.op("Reshape", both, s.ints(-1, 3 * side * side, 1, 4)))
        score = s.op("Mul", s.slice(y, 4, 5, 4), s.slice(y, 5, width, 4))
        scores.append(s.op("Reshape", score, s.ints(-1, 3 * side * side, CLASSES)))
    return s.model(s.op("Concat", *boxes, axis=1), s.op("Concat", *scores, axis=1), batch=batch)


# ------------------------------------------------------------------------- no anchors: YOLOv6, v8
# and later


def sides_decode(image: np.ndarray, channels: int, bins: int, last: int | None = None) -> Reference:
    """Corners from the distances of a box's sides to its cell: the mean of a distribution, or exp
    of one value.
    """
    x = flat(image, channels)
    at, step = cells()
    if bins > 1:
        sides = (softmax(x[..., : 4 * bins].reshape(*x.shape[:2], 4, bins)) * np.arange(bins)).sum(
            -1
        )
    else:
        sides = np.exp(x[..., :4])
    boxes = np.concatenate([at + 0.5 - sides[..., :2], at + 0.5 + sides[..., 2:]], -1) * step
    return boxes, sigmoid(x[..., 4 * bins : last]), {}


def dfl_decode(image: np.ndarray) -> Reference:
    return sides_decode(image, 64 + CLASSES, 16)


def plain_decode(image: np.ndarray) -> Reference:
    return sides_decode(image, 4 + CLASSES, 1)


def dfl(s: Sketch, x: str, bins: int) -> str:
    """Distances `(B, 4, 84)` from `(B, 4 * bins, 84)`, as YOLOv8's exporter writes it."""
    apart = s.op("Transpose", s.op("Reshape", x, s.ints(-1, 4, bins, CELLS)), perm=[0, 2, 1, 3])
    mean = s.const(np.arange(bins).reshape(1, bins, 1, 1))
    sides = s.op("Conv", s.op("Softmax", apart, axis=1), mean, kernel_shape=[1, 1])
    return s.op("Reshape", sides, s.ints(-1, 4, CELLS))


def yolov8(bins: int, as_corners: bool = False) -> Callable[[Any], onnx.ModelProto]:
    def build(batch: Any) -> onnx.ModelProto:
        s = sketch()
        x = columns(s, 4 * bins + CLASSES)
        boxes = s.slice(x, 0, 4 * bins, 1)
        sides = dfl(s, boxes, bins) if bins > 1 else s.op("Exp", boxes)
        scores = s.op("Sigmoid", s.slice(x, 4 * bins, 4 * bins + CLASSES, 1))
        return s.model(
            s.op("Concat", boxes_of_sides(s, sides, as_corners), scores, axis=1), batch=batch
        )

    return build


def yolov6(batch: Any) -> onnx.ModelProto:
    """Rows of box, a one where objectness would be, and classes."""
    s = sketch()
    x = columns(s, 4 + CLASSES)
    boxes = down(s, boxes_of_sides(s, s.op("Exp", s.slice(x, 0, 4, 1))))
    scores = down(s, s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1)))
    count = s.op("Gather", s.op("Shape", scores), s.ints(0), axis=0)
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    ones = s.op("ConstantOfShape", s.op("Concat", count, s.ints(CELLS, 1), axis=0), value=one)
    return s.model(s.op("Concat", boxes, ones, scores, axis=2), batch=batch)


def distance_maps(bins: int, layout: str) -> Callable[[Any], onnx.ModelProto]:
    """Heads as they are: a map a level, a pair a level (of maps, or of rows), or all levels in one."""

    def build(batch: Any) -> onnx.ModelProto:
        s, width = sketch(), 4 * bins + CLASSES
        if layout == "one":
            return s.model(columns(s, width), batch=batch)
        maps = []
        for stride in STRIDES:
            x = head(s, stride, width)
            sides = s.slice(x, 0, 4 * bins, 1)
            parts = [
                sides if bins > 1 else s.op("Exp", sides),
                s.op("Sigmoid", s.slice(x, 4 * bins, width, 1)),
            ]
            if layout == "rows":  # classes first, as PicoDet has it
                flat_parts = (s.op("Reshape", part, s.ints(0, 0, -1)) for part in reversed(parts))
                parts = [down(s, part) for part in flat_parts]
            maps += [x] if layout == "map" else parts
        return s.model(*maps, batch=batch)

    return build


def two_outputs(order: str) -> Callable[[Any], onnx.ModelProto]:
    """PP-YOLOE puts classes before boxes in its scores, DAMO-YOLO behind; both have corners in
    pixels.
    """

    def build(batch: Any) -> onnx.ModelProto:
        s = sketch()
        x = columns(s, 4 + CLASSES)
        boxes = down(s, boxes_of_sides(s, s.op("Exp", s.slice(x, 0, 4, 1)), corners=True))
        scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
        both = (boxes, scores) if order == "pp-yoloe" else (down(s, scores), boxes)
        return s.model(*both, batch=batch)

    return build


# --------------------------------------------------------------------------------------- masks,
# points, angles


def yolov8_seg(batch: Any) -> onnx.ModelProto:
    s = sketch()
    x = columns(s, 4 + CLASSES + MASKS)
    boxes = boxes_of_sides(s, s.op("Exp", s.slice(x, 0, 4, 1)))
    scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
    rows = s.op("Concat", boxes, scores, s.slice(x, 4 + CLASSES, 4 + CLASSES + MASKS, 1), axis=1)
    return s.model(rows, head(s, 4, MASKS), batch=batch)


def yolov8_pose(batch: Any) -> onnx.ModelProto:
    s = sketch()
    x = columns(s, 4 + CLASSES + POINTS)
    boxes = boxes_of_sides(s, s.op("Exp", s.slice(x, 0, 4, 1)))
    scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
    points = _key_points(s, x, 4 + CLASSES)
    return s.model(s.op("Concat", boxes, scores, points, axis=1), batch=batch)


def _key_points(s: Sketch, x: str, start: int) -> str:
    """Key points `(B, POINTS, 84)`: x and y in pixels, and a probability."""
    points = s.slice(x, start, start + POINTS, 1)
    points = s.op("Reshape", points, s.ints(-1, POINTS // 3, 3, CELLS))
    at, step = cells()
    place = s.op(
        "Add", s.op("Mul", s.slice(points, 0, 2, 2), s.const(2)), s.const(at.T[None, None])
    )
    place = s.op("Mul", place, s.const(step.T[None, None]))
    points = s.op("Concat", place, s.op("Sigmoid", s.slice(points, 2, 3, 2)), axis=2)
    return s.op("Reshape", points, s.ints(-1, POINTS, CELLS))


def yolov8_obb(batch: Any) -> onnx.ModelProto:
    s = sketch()
    x = columns(s, 4 + CLASSES + ANGLE)
    sides = s.op("Exp", s.slice(x, 0, 4, 1))
    angle = s.op("Sub", s.op("Sigmoid", s.slice(x, 4 + CLASSES, 5 + CLASSES, 1)), s.const(0.25))
    angle = s.op("Mul", angle, s.const(np.pi))
    scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
    boxes = turned_boxes(s, sides, angle)
    return s.model(s.op("Concat", boxes, scores, angle, axis=1), batch=batch)


def yolo26_obb(batch: Any) -> onnx.ModelProto:
    """The angle is a convolution's output as it is, and Cos reads it past a Concat of the levels."""
    s = sketch()
    x = columns(s, 4 + CLASSES + ANGLE)
    angle = s.slice(x, 4 + CLASSES, 5 + CLASSES, 1)
    scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
    boxes = turned_boxes(s, s.slice(x, 0, 4, 1), angle)
    return s.model(s.op("Concat", boxes, scores, angle, axis=1), batch=batch)


def turned_boxes(s: Sketch, sides: str, angle: str) -> str:
    """Centres and extents `(B, 4, 84)` in pixels, of sides that are turned about the cell."""
    low, high = s.slice(sides, 0, 2, 1), s.slice(sides, 2, 4, 1)
    half = s.op("Div", s.op("Sub", high, low), s.const(2))
    across, along = s.slice(half, 0, 1, 1), s.slice(half, 1, 2, 1)
    cos, sin = s.op("Cos", angle), s.op("Sin", angle)
    x_turned = s.op("Sub", s.op("Mul", across, cos), s.op("Mul", along, sin))
    y_turned = s.op("Add", s.op("Mul", across, sin), s.op("Mul", along, cos))
    at, step = cells()
    centre = s.op("Add", s.op("Concat", x_turned, y_turned, axis=1), s.const(at.T[None] + 0.5))
    return s.op(
        "Mul", s.op("Concat", centre, s.op("Add", low, high), axis=1), s.const(step.T[None])
    )


def seg_decode(image: np.ndarray) -> Reference:
    boxes, scores, _ = sides_decode(image, 4 + CLASSES + MASKS, 1, 4 + CLASSES)
    return boxes, scores, {"coefficients": flat(image, 4 + CLASSES + MASKS)[..., 4 + CLASSES :]}


def pose_decode(image: np.ndarray) -> Reference:
    boxes, scores, _ = sides_decode(image, 4 + CLASSES + POINTS, 1, 4 + CLASSES)
    return boxes, scores, {"keypoints": _points(flat(image, 4 + CLASSES + POINTS)[..., -POINTS:])}


def _points(x: np.ndarray) -> np.ndarray:
    """Key points `(B, 84, POINTS)` in pixels, from what the head gives."""
    x = x.reshape(len(x), CELLS, -1, 3)
    at, step = cells()
    place = (2 * x[..., :2] + at[:, None]) * step[:, None]
    return np.concatenate([place, sigmoid(x[..., 2:])], -1).reshape(len(x), CELLS, -1)


def obb_decode(image: np.ndarray) -> Reference:
    x = flat(image, 4 + CLASSES + ANGLE)
    angle = (sigmoid(x[..., 4 + CLASSES :]) - 0.25) * np.pi
    boxes = _turned_corners(np.exp(x[..., :4]), angle)
    return boxes, sigmoid(x[..., 4 : 4 + CLASSES]), {"angle": angle}


def _turned_corners(sides: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Corners `(B, 84, 4)` of boxes before they are turned, whose centres are turned about the cell."""
    at, step = cells()
    half = (sides[..., 2:] - sides[..., :2]) / 2
    cos, sin = np.cos(angle[..., 0]), np.sin(angle[..., 0])
    turned = np.stack(
        [half[..., 0] * cos - half[..., 1] * sin, half[..., 0] * sin + half[..., 1] * cos], -1
    )
    return corners((turned + at + 0.5) * step, (sides[..., :2] + sides[..., 2:]) * step)


# -----------------------------------------------------------------------------------------------------
# YOLOX


def yolox(decoded: bool) -> Callable[[Any], onnx.ModelProto]:
    def build(batch: Any) -> onnx.ModelProto:
        s, width = sketch(), 5 + CLASSES
        parts = []
        for stride in STRIDES:
            x = head(s, stride, width)
            scores = [
                s.op("Sigmoid", s.slice(x, 4, 5, 1)),
                s.op("Sigmoid", s.slice(x, 5, width, 1)),
            ]
            level = s.op("Concat", s.slice(x, 0, 4, 1), *scores, axis=1)
            parts.append(s.op("Reshape", level, s.ints(-1, width, (SIDE // stride) ** 2)))
        rows = down(s, s.op("Concat", *parts, axis=2))
        if decoded:
            at, step = cells()
            centre = s.op(
                "Mul", s.op("Add", s.slice(rows, 0, 2, 2), s.const(at[None])), s.const(step[None])
            )
            extent = s.op("Mul", s.op("Exp", s.slice(rows, 2, 4, 2)), s.const(step[None]))
            rows = s.op("Concat", centre, extent, s.slice(rows, 4, width, 2), axis=2)
        return s.model(rows, batch=batch)

    return build


def yolox_decode(image: np.ndarray) -> Reference:
    x = flat(image, 5 + CLASSES)
    at, step = cells()
    boxes = corners((x[..., :2] + at) * step, np.exp(x[..., 2:4]) * step)
    return boxes, sigmoid(x[..., 4:5]) * sigmoid(x[..., 5:]), {}


# ------------------------------------------------------------------------------------ priors: SSD
# and its kin

PRIORS = {8: [[10.0, 12.0], [20.0, 9.0]], 16: [[18.0, 22.0], [30.0, 16.0]]}
PRIOR_COUNT = sum(len(each) * (SIDE // stride) ** 2 for stride, each in PRIORS.items())


def prior_rows(s: Sketch, width: int, salt: int = 0) -> str:
    """`(B, N, width)`: cell by cell, the cell's priors together."""
    rows = []
    for stride, sizes in PRIORS.items():
        x = s.op("Transpose", head(s, stride, len(sizes) * (width + salt)), perm=[0, 2, 3, 1])
        x = s.op("Reshape", x, s.ints(-1, len(sizes) * (SIDE // stride) ** 2, width + salt))
        rows.append(s.slice(x, 0, width, 2) if salt else x)
    return s.op("Concat", *rows, axis=1)


def prior_raw(image: np.ndarray, width: int, salt: int = 0) -> np.ndarray:
    parts = [
        raw(image, stride, len(sizes) * (width + salt)).reshape(len(image), -1, width + salt)
        for stride, sizes in PRIORS.items()
    ]
    return np.concatenate(parts, 1)[..., :width]


def prior_boxes() -> tuple[np.ndarray, np.ndarray]:
    place, extent = [], []
    for stride, sizes in PRIORS.items():
        for y in range(SIDE // stride):
            for x in range(SIDE // stride):
                for size in sizes:
                    place.append([(x + 0.5) * stride, (y + 0.5) * stride])
                    extent.append(size)
    return np.array(place), np.array(extent)


def prior_figures(**more: Any) -> dict[str, Any]:
    return {"anchors": list(PRIORS.values()), "strides": list(PRIORS), **more}


def priors(kind: str, face: bool = False) -> Callable[[Any], onnx.ModelProto]:
    def build(batch: Any) -> onnx.ModelProto:
        s = sketch()
        deltas = s.op("Mul", prior_rows(s, 4), s.const(0.5))
        logits = prior_rows(s, CLASSES + (kind == "ssd"), salt=2)
        scores = s.op("Softmax", logits, axis=2) if kind == "ssd" else s.op("Sigmoid", logits)
        return s.model(deltas, scores, *([prior_rows(s, 10, salt=1)] if face else []), batch=batch)

    return build


def prior_decode(
    kind: str, variances: tuple[float, float], face: bool = False, yx: bool = False
) -> Any:
    def decode(image: np.ndarray) -> Reference:
        deltas = prior_raw(image, 4) * 0.5
        if yx:
            deltas = deltas[..., [1, 0, 3, 2]]
        place, extent = prior_boxes()
        centre = place + deltas[..., :2] * variances[0] * extent
        boxes = corners(centre, extent * np.exp(deltas[..., 2:] * variances[1]))
        logits = prior_raw(image, CLASSES + (kind == "ssd"), salt=2)
        scores = softmax(logits)[..., 1:] if kind == "ssd" else sigmoid(logits)
        points = prior_raw(image, 10, salt=1).reshape(*deltas.shape[:2], 5, 2)
        points = place[:, None] + points * variances[0] * extent[:, None]
        return boxes, scores, {"landmarks": points.reshape(*deltas.shape[:2], 10)} if face else {}

    return decode


def priors_decoded(kind: str) -> Callable[[Any], onnx.ModelProto]:
    """Decoded in the graph: corners in fractions for SSD, in pixels for RetinaNet, with y first for
    EfficientDet.
    """

    def build(batch: Any) -> onnx.ModelProto:
        s = sketch()
        deltas = s.op("Mul", prior_rows(s, 4), s.const(0.5))
        place, extent = prior_boxes()
        unit = SIDE if kind == "ssd" else 1
        order = [1, 0] if kind == "efficientdet" else [0, 1]
        place, extent = place[None, :, order] / unit, extent[None, :, order] / unit
        centre = s.op(
            "Add", s.op("Mul", s.slice(deltas, 0, 2, 2), s.const(0.1 * extent)), s.const(place)
        )
        grown = s.op("Exp", s.op("Mul", s.slice(deltas, 2, 4, 2), s.const(0.2)))
        half = s.op("Div", s.op("Mul", grown, s.const(extent)), s.const(2))
        boxes = s.op("Concat", s.op("Sub", centre, half), s.op("Add", centre, half), axis=2)
        logits = prior_rows(s, CLASSES + (kind == "ssd"), salt=2)
        scores = s.op("Softmax", logits, axis=2) if kind == "ssd" else s.op("Sigmoid", logits)
        return s.model(scores, boxes, batch=batch)

    return build


# ------------------------------------------------------------------------------------ no
# suppression: queries


def _matrix(salt: int, width: int) -> np.ndarray:
    return np.random.default_rng(salt).normal(0, 0.6, (WIDTH, width)).astype(np.float32)


def tokens(s: Sketch) -> str:
    return down(s, columns(s, WIDTH))


def selected(s: Sketch) -> tuple[str, str]:
    """Features `(B, Q, 8)` and inverse sigmoids of boxes `(B, Q, 4)` of the best tokens, as in
    two-stage decoders.
    """
    memory = tokens(s)
    best = s.op(
        "ReduceMax", s.op("MatMul", memory, s.const(_matrix(1, CLASSES))), axes=[2], keepdims=0
    )
    index = top(s, best, QUERIES)[1]
    reference = s.op("MatMul", memory, s.const(_matrix(2, 4)))
    return gather(s, memory, index, WIDTH), gather(s, reference, index, 4)


def top(s: Sketch, x: str, count: int) -> tuple[str, str]:
    number = len(s.nodes)
    names = [f"t{number}", f"t{number}.index"]
    s.nodes.append(helper.make_node("TopK", [x, s.ints(count)], names, f"n{number}", axis=1))
    return names[0], names[1]


def gather(s: Sketch, x: str, index: str, width: int) -> str:
    wide = s.op("Expand", s.op("Unsqueeze", index, s.ints(2)), s.ints(1, 1, width))
    return s.op("GatherElements", x, wide, axis=1)


def rtdetr(layout: str) -> Callable[[Any], onnx.ModelProto]:
    def build(batch: Any) -> onnx.ModelProto:
        s = sketch()
        features, reference = selected(s)
        delta = s.op("MatMul", features, s.const(_matrix(3, 4)))
        boxes = s.op("Sigmoid", s.op("Add", delta, reference))
        logits = s.op("MatMul", features, s.const(_matrix(4, CLASSES)))
        if layout == "logits":
            return s.model(logits, boxes, batch=batch)
        # Models of Hugging Face return all decoder layers, and the last one counts.
        if layout == "stacked":
            early = (
                s.op("Sigmoid", reference),
                s.op("MatMul", features, s.const(_matrix(5, CLASSES))),
            )
            return s.model(
                *early,
                _last_layer(s, early[1], logits),
                _last_layer(s, early[0], boxes),
                batch=batch,
            )
        if layout == "one":
            return s.model(s.op("Concat", boxes, s.op("Sigmoid", logits), axis=2), batch=batch)
        # the post-processor of RT-DETR and D-FINE, with the image's size as a constant
        centre, half = s.slice(boxes, 0, 2, 2), s.op("Mul", s.slice(boxes, 2, 4, 2), s.const(0.5))
        box = s.op("Concat", s.op("Sub", centre, half), s.op("Add", centre, half), axis=2)
        box = s.op("Mul", box, s.const([SIDE] * 4))
        flat_scores = s.op("Reshape", s.op("Sigmoid", logits), s.ints(-1, QUERIES * CLASSES))
        score, index = top(s, flat_scores, QUERIES)
        label = s.op("Mod", index, s.const(CLASSES, np.int64))
        model = s.model(
            label,
            gather(s, box, s.op("Div", index, s.const(CLASSES, np.int64)), 4),
            score,
            batch=batch,
        )
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
        return model

    return build


def _last_layer(s: Sketch, *layers: str) -> str:
    stacked = s.op("Concat", *(s.op("Unsqueeze", layer, s.ints(1)) for layer in layers), axis=1)
    return s.op("Gather", stacked, s.const(-1, np.int64), axis=1)


def dfine(batch: Any) -> onnx.ModelProto:
    """Boxes from distances around the reference, which is a Sigmoid: arithmetic at the end."""
    s = sketch()
    features, reference = selected(s)
    point = s.op("Sigmoid", reference)
    sides = s.op(
        "Mul", s.op("Sigmoid", s.op("MatMul", features, s.const(_matrix(3, 4)))), s.const(0.5)
    )
    extent, centre = s.slice(point, 2, 4, 2), s.slice(point, 0, 2, 2)
    low = s.op("Sub", centre, s.op("Mul", s.slice(sides, 0, 2, 2), extent))
    high = s.op("Add", centre, s.op("Mul", s.slice(sides, 2, 4, 2), extent))
    middle = s.op("Mul", s.op("Add", low, high), s.const(0.5))
    boxes = s.op("Concat", middle, s.op("Sub", high, low), axis=2)
    return s.model(s.op("MatMul", features, s.const(_matrix(4, CLASSES))), boxes, batch=batch)


def detr(batch: Any) -> onnx.ModelProto:
    """No selection of queries; the last class stands for none."""
    s = sketch()
    features = s.slice(tokens(s), 0, QUERIES, 1)
    boxes = s.op("Sigmoid", s.op("MatMul", features, s.const(_matrix(3, 4))))
    return s.model(s.op("MatMul", features, s.const(_matrix(4, CLASSES + 1))), boxes, batch=batch)


def _selected(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    memory = flat(image, WIDTH)
    index = np.argsort(-(memory @ _matrix(1, CLASSES)).max(-1), 1)[:, :QUERIES, None]
    return np.take_along_axis(memory, index, 1), np.take_along_axis(
        memory @ _matrix(2, 4), index, 1
    )


def rtdetr_decode(image: np.ndarray) -> Reference:
    features, reference = _selected(image)
    box = sigmoid(features @ _matrix(3, 4) + reference) * SIDE
    return corners(box[..., :2], box[..., 2:]), sigmoid(features @ _matrix(4, CLASSES)), {}


def dfine_decode(image: np.ndarray) -> Reference:
    features, reference = _selected(image)
    point, sides = sigmoid(reference), 0.5 * sigmoid(features @ _matrix(3, 4))
    low, high = (
        point[..., :2] - sides[..., :2] * point[..., 2:],
        point[..., :2] + sides[..., 2:] * point[..., 2:],
    )
    return np.concatenate([low, high], -1) * SIDE, sigmoid(features @ _matrix(4, CLASSES)), {}


def detr_decode(image: np.ndarray) -> Reference:
    features = flat(image, WIDTH)[:, :QUERIES]
    box = sigmoid(features @ _matrix(3, 4)) * SIDE
    return (
        corners(box[..., :2], box[..., 2:]),
        softmax(features @ _matrix(4, CLASSES + 1))[..., :-1],
        {},
    )


def yolov10(masks: bool = False) -> Callable[[Any], onnx.ModelProto]:
    """A TopK over boxes, then one over their classes; rows of corners, score, class (YOLO26-seg:
    coefficients).
    """

    def build(batch: Any) -> onnx.ModelProto:
        s, width = sketch(), 4 + CLASSES + MASKS
        x = columns(s, width)
        boxes = down(s, boxes_of_sides(s, s.op("Exp", s.slice(x, 0, 4, 1)), corners=True))
        scores = down(s, s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1)))
        more = down(s, s.slice(x, 4 + CLASSES, width, 1))
        best = top(s, s.op("ReduceMax", scores, axes=[2], keepdims=0), QUERIES)[1]
        flat_scores = s.op(
            "Reshape", gather(s, scores, best, CLASSES), s.ints(-1, QUERIES * CLASSES)
        )
        score, index = top(s, flat_scores, QUERIES)
        label = s.op("Cast", s.op("Mod", index, s.const(CLASSES, np.int64)), to=TensorProto.FLOAT)
        box = s.op("Div", index, s.const(CLASSES, np.int64))
        parts = [
            gather(s, gather(s, boxes, best, 4), box, 4),
            *(s.op("Unsqueeze", each, s.ints(2)) for each in (score, label)),
        ]
        if masks:
            parts.append(gather(s, gather(s, more, best, MASKS), box, MASKS))
        outputs = [s.op("Concat", *parts, axis=2), *([head(s, 4, MASKS)] if masks else [])]
        return s.model(*outputs, batch=batch)

    return build


def yolo26(more: str = "", agnostic: bool = False) -> Callable[[Any], onnx.ModelProto]:
    """Rows of YOLO26, with key points or an angle (then boxes are centres and extents).

    Distances have a sign: a far corner may lie before a near one. With `agnostic` the class comes from an ArgMax before the TopK.
    """

    def build(batch: Any) -> onnx.ModelProto:
        s, extra = sketch(), {"": 0, "keypoints": POINTS, "angle": ANGLE}[more]
        x = columns(s, 4 + CLASSES + extra)
        scores = down(s, s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1)))
        boxes, tail = _yolo26_rows(s, x, more)
        if agnostic:
            highest = s.op("ReduceMax", scores, axes=[2], keepdims=1)
            label = s.op("Cast", s.op("ArgMax", scores, axis=2, keepdims=1), to=TensorProto.FLOAT)
            score, index = top(s, highest, QUERIES)
            label = s.op("GatherElements", label, index, axis=1)
            wide = s.op("Expand", index, s.ints(1, 1, 4))
            return s.model(
                s.op("Concat", s.op("GatherElements", boxes, wide, axis=1), score, label, axis=2),
                batch=batch,
            )
        best = top(s, s.op("ReduceMax", scores, axes=[2], keepdims=0), QUERIES)[1]
        flat_scores = s.op(
            "Reshape", gather(s, scores, best, CLASSES), s.ints(-1, QUERIES * CLASSES)
        )
        score, index = top(s, flat_scores, QUERIES)
        label = s.op("Cast", s.op("Mod", index, s.const(CLASSES, np.int64)), to=TensorProto.FLOAT)
        box = s.op("Div", index, s.const(CLASSES, np.int64))
        parts = [gather(s, gather(s, boxes, best, 4), box, 4)]
        parts += [s.op("Unsqueeze", column, s.ints(2)) for column in (score, label)]
        if tail:
            parts.append(gather(s, gather(s, tail, best, extra), box, extra))
        return s.model(s.op("Concat", *parts, axis=2), batch=batch)

    return build


def _yolo26_rows(s: Sketch, x: str, more: str) -> tuple[str, str]:
    """Boxes `(B, 84, 4)` and what follows them, `(B, 84, channels)`."""
    sides, start = s.slice(x, 0, 4, 1), 4 + CLASSES
    if more == "angle":
        angle = s.slice(x, start, start + ANGLE, 1)
        return down(s, turned_boxes(s, sides, angle)), down(s, angle)
    boxes = down(s, boxes_of_sides(s, sides, corners=True))
    return boxes, down(s, _key_points(s, x, start)) if more else ""


def signed_decode(more: str = "") -> Callable[[np.ndarray], Reference]:
    """Boxes of signed distances, with key points or an angle."""

    def decode(image: np.ndarray) -> Reference:
        extra = {"": 0, "keypoints": POINTS, "angle": ANGLE}[more]
        x = flat(image, 4 + CLASSES + extra)
        at, step = cells()
        sides, tail = x[..., :4], x[..., 4 + CLASSES :]
        scores = sigmoid(x[..., 4 : 4 + CLASSES])
        if more == "angle":
            return _turned_corners(sides, tail), scores, {"angle": tail}
        near, far = at + 0.5 - sides[..., :2], at + 0.5 + sides[..., 2:]
        boxes = np.concatenate([near, far], -1) * step
        return boxes, scores, {"keypoints": _points(tail)} if more else {}

    return decode


def yolov10_decode(image: np.ndarray) -> Reference:
    """All boxes of the model; the 20 best of them are its own choice."""
    boxes, scores, _ = sides_decode(image, 4 + CLASSES + MASKS, 1, 4 + CLASSES)
    return boxes, scores, {"coefficients": flat(image, 4 + CLASSES + MASKS)[..., 4 + CLASSES :]}


FAMILIES = {
    "yolov3": Family(yolov3, anchor_decode((1, 1, 1), "exp"), "objectness"),
    "yolov3 raw": Family(anchor_maps(False), anchor_decode((1, 1, 1), "exp"), "yolo-anchors",
                         {"anchors": ANCHORS, "extent": "exp", "xy_scale": 1}),
    "yolov4": Family(yolov4, anchor_decode(V4_SCALES, "exp"), "boxes-scores"),
    "yolov4 raw": Family(anchor_maps(False), anchor_decode(V4_SCALES, "exp"), "yolo-anchors",
                         {"anchors": ANCHORS, "extent": "exp", "xy_scale": V4_SCALES}),
    "yolov5": Family(yolov5, anchor_decode((2, 2, 2), "square"), "objectness"),
    "yolov5 raw": Family(anchor_maps(True), anchor_decode((2, 2, 2), "square"), "yolo-anchors", {"anchors": ANCHORS}),
    "yolov7 raw": Family(anchor_maps(False), anchor_decode((2, 2, 2), "square"), "yolo-anchors", {"anchors": ANCHORS}),
    "yolov6": Family(yolov6, plain_decode, "objectness"),
    "yolov8": Family(yolov8(16), dfl_decode, "anchor-free"),
    "yolov9, corners": Family(yolov8(16, True), dfl_decode, "anchor-free"),
    "yolo11 without DFL": Family(yolov8(1), plain_decode, "anchor-free"),
    "yolov8 raw": Family(distance_maps(16, "map"), dfl_decode, "distances", {}),
    "yolov8 raw pairs": Family(distance_maps(16, "pair"), dfl_decode,
                               "distances", {}),
    "yolov8 raw in one": Family(distance_maps(16, "one"), dfl_decode,
                                "distances", {}),
    "picodet raw": Family(distance_maps(8, "rows"), lambda image: sides_decode(image, 32 + CLASSES, 8),
                          "distances", {"bins": 8}),
    "yolov6 raw": Family(distance_maps(1, "pair"), plain_decode, "distances", {"bins": 1}),
    "yolox": Family(yolox(True), yolox_decode, "objectness"),
    "yolox raw": Family(yolox(False), yolox_decode, "yolox-raw", {}),
    "pp-yoloe": Family(two_outputs("pp-yoloe"), plain_decode, "boxes-scores"),
    "damo-yolo": Family(two_outputs("damo-yolo"), plain_decode, "boxes-scores"),
    "ssd": Family(priors("ssd"), prior_decode("ssd", (0.1, 0.2)), "priors",
                  prior_figures(variances=[0.1, 0.2], background="first")),
    "ssd decoded": Family(priors_decoded("ssd"), prior_decode("ssd", (0.1, 0.2)), "boxes-scores",
                          {"background": "first"}),
    "retinaface": Family(priors("ssd", face=True), prior_decode("ssd", (0.1, 0.2), face=True), "priors",
                         prior_figures(variances=[0.1, 0.2], background="first", extra={"landmarks": 10}),
                         extra=("landmarks",)),
    "retinanet": Family(priors("retinanet"), prior_decode("retinanet", (1, 1)), "priors", prior_figures()),
    "retinanet decoded": Family(priors_decoded("retinanet"), prior_decode("retinanet", (0.1, 0.2)), "boxes-scores"),
    "efficientdet": Family(priors("efficientdet"), prior_decode("efficientdet", (1, 1), yx=True), "priors",
                           prior_figures(order="yx")),
    "efficientdet decoded": Family(priors_decoded("efficientdet"),
                                   prior_decode("efficientdet", (0.1, 0.2), yx=True), "boxes-scores"),
    "yolov8-seg": Family(yolov8_seg, seg_decode, "anchor-free", extra=("coefficients",)),
    "yolov8-pose": Family(yolov8_pose, pose_decode, "anchor-free", extra=("keypoints",)),
    "yolov8-obb": Family(yolov8_obb, obb_decode, "anchor-free", extra=("angle",)),
    "yolo26-obb one-to-many": Family(yolo26_obb, signed_decode("angle"), "anchor-free", extra=("angle",)),
    "yolo26": Family(yolo26(), signed_decode(), "ranked", suppress=False),
    "yolo26 agnostic": Family(yolo26(agnostic=True), signed_decode(), "ranked", suppress=False, best=True),
    "yolo26-pose": Family(yolo26("keypoints"), signed_decode("keypoints"), "ranked", suppress=False,
                          extra=("keypoints",)),
    "yolo26-obb": Family(yolo26("angle"), signed_decode("angle"), "ranked", suppress=False, extra=("angle",)),
    "yolov10": Family(yolov10(), yolov10_decode, "ranked", suppress=False),
    "yolo26-seg": Family(yolov10(masks=True), yolov10_decode, "ranked", suppress=False, extra=("coefficients",)),
    "rtdetr": Family(rtdetr("logits"), rtdetr_decode, "queries", suppress=False),
    "rtdetr of stacked layers": Family(rtdetr("stacked"), rtdetr_decode, "queries", suppress=False),
    "rtdetr in one": Family(rtdetr("one"), rtdetr_decode, "queries", suppress=False),
    "rtdetr with post-processor": Family(rtdetr("ranked"), rtdetr_decode, "ranked", suppress=False),
    "d-fine": Family(dfine, dfine_decode, "queries", suppress=False),
    "detr": Family(detr, detr_decode, "queries", {"activation": "softmax", "background": "last"}, suppress=False,
                   best=True),
}  # fmt: skip
