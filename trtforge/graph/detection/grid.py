"""Cells and anchors: how many boxes an image size gives, and whether boxes really lie on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trtforge.graph.detection.records import Geometry, Size, Unit

STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHORS = (1, 3, 2, 9)  # of a cell: YOLO, RetinaFace, RetinaNet and EfficientDet
_LEAST_SPAN = 0.4  # of the image's width that centres of cells cover; two cells abreast cover half
_FRACTION = (
    1.5  # no fraction of the image's width is larger, and no pixel of a useful image so small
)


def grid_of(count: int, size: Size) -> tuple[int, tuple[int, ...]] | None:
    """Return the anchors a cell and the strides that give `count` boxes, the most strides first."""
    for length in range(len(STRIDES), 0, -1):
        for start in range(len(STRIDES) - length + 1):
            strides = STRIDES[start : start + length]
            cells = sum(cells_of(size, stride) for stride in strides)
            for anchors in _ANCHORS:
                if count == anchors * cells:
                    return anchors, strides
    return None


def cells_of(size: Size, stride: int) -> int:
    """Return the number of cells of one stride."""
    rows, columns = rows_and_columns(size, stride)
    return rows * columns


def rows_and_columns(size: Size, stride: int) -> tuple[int, int]:
    """Return the grid's rows and columns for one stride, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def points(size: Size, strides: Sequence[int], repeat: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres `(N, 2)` in pixels and strides `(N, 1)` of all cells, row by row, float32."""
    centres, steps = [], []
    for stride in strides:
        rows, columns = rows_and_columns(size, stride)
        y, x = np.mgrid[:rows, :columns]
        at = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
        centres.append(at.repeat(repeat, 0))
        steps.append(np.full((len(centres[-1]), 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(steps).astype(np.float32)


def evidence(grid: tuple[int, tuple[int, ...]], size: Size) -> str:
    """Return the words that say how many boxes lie on which cells."""
    anchors, strides = grid
    boxes = "1 box" if anchors == 1 else f"{anchors} boxes"
    return f"{boxes} on each cell of stride {', '.join(map(str, strides))} at {size[0]}x{size[1]}"


def geometry(boxes: np.ndarray, size: Size) -> Geometry | None:
    """Return how the boxes of a decode without signal are coded; None unless they lie on a grid.

    There each level has few extents, and many places. So channels 2 and 3 have few values where
    they are extents, and as many as channels 0 and 1 where they are far corners; the differences
    are the other way round.
    """
    near, far = boxes[:, :2], boxes[:, 2:]
    centred = _variety(far) <= _variety(far - near)
    middle = near if centred else (near + far) / 2
    moves = np.abs(np.diff(middle, axis=0)) > 1e-4 * np.abs(middle).max(initial=0)
    if not moves.any() or _variety(middle) < 2:
        return None
    # Cells go row by row: what moves first is x.
    across = int(moves[np.flatnonzero(moves.any(1))[0]].argmax())
    x, y = middle[:, across], middle[:, 1 - across]
    unit: Unit = "fraction" if middle.max() <= _FRACTION else "pixels"
    height, width = (1.0, 1.0) if unit == "fraction" else size
    if not (_covers(x, width) and _covers(y, height)):
        return None
    return Geometry("centre" if centred else "corners", unit, "yx" if across else "xy")


def _covers(places: np.ndarray, side: float) -> bool:
    inside = -0.05 * side <= places.min() and places.max() <= 1.05 * side
    return bool(inside and places.max() - places.min() >= _LEAST_SPAN * side)


def _variety(values: np.ndarray) -> int:
    """Count the different rows, to a ten-thousandth of the largest number."""
    step = 1e-4 * float(np.abs(values).max(initial=0)) or 1.0
    return len(np.unique(np.round(values / step), axis=0))
