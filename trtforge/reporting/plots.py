"""Draw plots as SVG: bars, and points with lines.

Colours and fonts come from CSS classes, so that both themes fit. The ``<title>`` of a bar or point
is shown when the pointer rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from trtforge.reporting.axes import Box, axis, draw_axes, number
from trtforge.reporting.label_places import (
    Place,
    box_around,
    boxes_along,
    label_boxes,
    middle_of_end,
)
from trtforge.reporting.svg import LETTER, add, figure, shorten, text

CLASSES = {
    **dict.fromkeys(("Int8", "UInt8"), "int8"),
    **dict.fromkeys(("Half", "BFloat16"), "half"),
    **dict.fromkeys(("FP8", "FP4", "Int4"), "fp8"),
    "Float": "float",
}
ROW = 22  # pixels from bar to bar
LABEL = 44  # letters of a bar's label
DOT = 4.5  # radius in pixels
SHOWN = 32  # letters of a point's label


@dataclass(frozen=True)
class Part:
    """A part of a bar; ``kind`` is a CSS class, see ``css_class``."""

    value: float
    kind: str
    title: str


@dataclass(frozen=True)
class Point:
    """A point of a plot; ``kind`` is a CSS class, see ``css_class``."""

    x: float
    y: float
    kind: str
    title: str
    label: str = ""


Line = tuple[str, str, Sequence[tuple[float, float]]]  # label, CSS class, corners as values


def css_class(dtype: str) -> str:
    """Return the CSS class with the colour of a datatype."""
    return CLASSES.get(dtype, "other")


def bars(
    title: str, rows: Sequence[tuple[str, Sequence[Part], str]], width: int = 760
) -> ET.Element:
    """Draw horizontal bars on one scale; each bar has parts side by side.

    Args:
        title: text for screen readers.
        rows: the label before each bar, its parts, and the text after it.
    """
    largest = max((sum(part.value for part in parts) for _, parts, _ in rows), default=0) or 1
    left = LETTER * max((len(shorten(label, LABEL)) for label, _, _ in rows), default=0) + 10
    right = LETTER * max((len(after) for _, _, after in rows), default=0) + 14
    scale = max(60.0, width - left - right) / largest
    root = figure(title, width, ROW * len(rows) + 4)
    for row, (label, parts, after) in enumerate(rows):
        y, x = ROW * row + 2, left
        text(root, left - 8, y + 14, shorten(label, LABEL), "end")
        for part in parts:
            size = part.value * scale
            shape = {"x": x, "y": y + 2, "width": max(size, 0.5), "height": ROW - 6, "rx": 2}
            bar = add(root, "rect", **shape, kind=f"fill {part.kind}")
            add(bar, "title").text = part.title
            x += size
        text(root, x + 6, y + 14, after)
    return root


def scatter(
    title: str,
    points: Sequence[Point],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    lines: Sequence[Line] = (),
    key: Sequence[tuple[str, str]] = (),
    most: float = math.inf,
    width: int = 760,
    height: int = 340,
) -> ET.Element | None:
    """Draw points and lines; return None without any point.

    A label for which there is no room is left out.

    Args:
        title: text for screen readers.
        log: both axes are logarithmic, and only values above 0 are drawn.
        lines: a corner's x may be infinite: then it is on the edge.
        key: CSS class and meaning of each kind of point.
        most: the largest x that is possible, such as 1.0 for a share.
        width, height: in pixels.
    """
    shown = [point for point in points if not log or (point.x > 0 and point.y > 0)]
    if not shown:
        return None
    corners = [corner for _, _, line in lines for corner in line]
    top, bottom, right = 34.0 if key else 14.0, height - 42.0, width - 34.0
    y_axis = axis([point.y for point in shown] + [y for _, y in corners], bottom, top, log)
    left = 30 + LETTER * max((len(number(tick)) for tick in y_axis.ticks), default=0)
    xs = [point.x for point in shown] + [x for x, _ in corners if math.isfinite(x)]
    x_axis = axis(xs, left, right, log, most)
    root = figure(title, width, height)
    draw_axes(root, Box(left, top, right, bottom), x_axis, y_axis, x_label, y_label)
    _draw_key(root, key, left)
    paths = [
        [(max(left, min(x_axis.position(x), right)), y_axis.position(y)) for x, y in line]
        for _, _, line in lines
    ]
    dots = [(x_axis.position(point.x), y_axis.position(point.y)) for point in shown]
    _draw_lines(root, lines, paths)
    _draw_dots(root, shown, dots)
    frame = Box(left, top - 12, width, bottom)
    _draw_labels(root, _labels(shown, dots, lines, paths), dots, paths, frame)
    return root


def pareto(
    title: str,
    points: Sequence[Point],
    x_label: str,
    y_label: str,
    *,
    more: bool = False,
    beside: Sequence[Point] = (),
    lines: Sequence[Line] = (),
    key: Sequence[tuple[str, str]] = (),
    most: float = math.inf,
) -> ET.Element | None:
    """Draw points, and a line through those that no other point beats in both x and y.

    A larger y is better, and a smaller x.

    Args:
        more: a larger x is better, too.
        beside: further points, which do not compete.
        lines, key, most: see ``scatter``.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.x if more else point.x, -point.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    front: list[Line] = []
    if len(best) > 1:
        front = [("", "front", [(point.x, point.y) for point in best])]
    return scatter(
        title, [*points, *beside], x_label, y_label, lines=[*lines, *front], key=key, most=most
    )


def _draw_key(root: ET.Element, key: Sequence[tuple[str, str]], left: float) -> None:
    for kind, meaning in key:
        add(root, "circle", cx=left + DOT, cy=10, r=DOT, kind=f"fill {kind}")
        text(root, left + 14, 14, meaning)
        left += 34 + LETTER * len(meaning)


def _draw_lines(root: ET.Element, lines: Sequence[Line], paths: Sequence[Sequence[Place]]) -> None:
    for (label, kind, _), path in zip(lines, paths, strict=True):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        drawn = add(root, "polyline", points=points, kind=f"line {kind}")
        add(drawn, "title").text = label


def _draw_dots(root: ET.Element, points: Sequence[Point], dots: Sequence[Place]) -> None:
    for point, (x, y) in zip(points, dots, strict=True):
        dot = add(root, "circle", cx=x, cy=y, r=DOT, kind=f"fill dot {point.kind}")
        add(dot, "title").text = point.title


def _labels(
    points: Sequence[Point],
    dots: Sequence[Place],
    lines: Sequence[Line],
    paths: Sequence[Sequence[Place]],
) -> list[tuple[str, list[Place]]]:
    """Return each label with the places that it may be near; lines come before points."""
    labels: list[tuple[str, list[Place]]] = []
    for (label, _, _), path in zip(lines, paths, strict=True):
        if label and path:
            labels.append((label, [path[-1], path[0], middle_of_end(path)]))
    for point, dot in zip(points, dots, strict=True):
        if point.label:
            labels.append((shorten(point.label, SHOWN), [dot]))
    return labels


def _draw_labels(
    root: ET.Element,
    labels: Sequence[tuple[str, list[Place]]],
    dots: Sequence[Place],
    paths: Sequence[Sequence[Place]],
    frame: Box,
) -> None:
    around_dots = [box_around(dot, DOT) for dot in dots]
    along_lines = [box for path in paths for box in boxes_along(path)]
    for label, box in label_boxes(labels, around_dots, along_lines, frame):
        text(root, box.left, box.bottom - 3, label)
