"""Draw a histogram of magnitudes, and where INT8's range ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

from trtforge.reporting.axes import Box, number, power_of_ten, ticks, vertical_label
from trtforge.reporting.svg import LETTER, add, figure, line, text

COLUMN = 4  # pixels of a column, at least


def histogram(
    title: str,
    counts: Sequence[int],
    limit: float,
    threshold: float,
    *,
    width: int = 240,
    height: int = 96,
    axes: bool = False,
) -> ET.Element:
    """Draw counts of magnitudes over [0, limit) on a logarithmic scale.

    Args:
        title: text for screen readers.
        threshold: where INT8's range ends.
        width, height: in pixels.
        axes: draw scales and their names, for a picture without text around it.
    """
    frame = Box(0.0, 0.0, width, height - 16.0)
    if axes:
        frame = Box(62.0, 34.0, width - 24.0, height - 42.0)
    columns = min(int((frame.right - frame.left) / COLUMN), len(counts)) or 1
    edges = [column * len(counts) // columns for column in range(columns + 1)]
    sums = [sum(counts[edges[column] : edges[column + 1]]) for column in range(columns)]
    largest = max(sums, default=0)
    room, full = frame.bottom - frame.top - 2, math.log1p(largest) or 1.0
    root = figure(title, width, height)

    def y_of(count: float) -> float:
        return frame.bottom - room * math.log1p(count) / full

    if axes:
        _draw_scales(root, frame, y_of, largest, limit)
    step = (frame.right - frame.left) / columns
    for column, count in enumerate(sums):
        if count:
            inside = limit * column / columns < threshold
            add(
                root,
                "rect",
                x=frame.left + step * column,
                y=y_of(count),
                width=max(1.0, step - 0.6),
                height=frame.bottom - y_of(count),
                kind=f"fill {'int8' if inside else 'other'}",
            )
    if limit > 0:
        x = min(frame.right - 1.0, frame.left + (frame.right - frame.left) * threshold / limit)
        line(root, x, frame.top, x, frame.bottom, "mark")
        label = f"INT8 ends at {number(threshold)}" if axes else number(threshold)
        half = LETTER * len(label) / 2
        baseline = frame.top - 8 if axes else height - 4
        text(root, max(half, min(x, width - half)), baseline, label, "middle")
    return root


def _draw_scales(
    root: ET.Element, frame: Box, y_of: Callable[[float], float], largest: int, limit: float
) -> None:
    """Draw powers of ten on the y axis, and magnitudes on the x axis."""
    if largest:
        digits = int(math.log10(largest))
        for power in range(0, digits + 1, 1 + digits // 5):
            y = y_of(10**power)
            line(root, frame.left, y, frame.right, y, "grid")
            text(root, frame.left - 6, y + 4, power_of_ten(power), "end")
    for tick in ticks(0.0, limit) if limit > 0 else [0.0]:
        x = frame.left + (frame.right - frame.left) * (tick / limit if limit else 0)
        line(root, x, frame.bottom, x, frame.bottom + 4, "grid")
        text(root, x, frame.bottom + 18, number(tick), "middle")
    line(root, frame.left, frame.bottom, frame.right, frame.bottom, "grid")
    text(root, frame.middle, frame.bottom + 36, "magnitude", "middle")
    vertical_label(root, frame, "values")
