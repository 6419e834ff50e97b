"""Plots as SVG: plain data in, a picture out. Colours and fonts go by class, so that both themes
fit.

What a bar or point says when a pointer rests on it is its ``<title>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from trtforge.reporting.svg import LETTER, add, figure, line, shorten, text

CLASSES = {
    "Int8": "int8",
    "UInt8": "int8",
    "Half": "half",
    "BFloat16": "half",
    "Float": "float",
    "FP8": "fp8",
    "FP4": "fp8",
    "Int4": "fp8",
}
ROW = 22  # pixels from bar to bar
DOT = 4.5  # radius in pixels
SHOWN = 32  # letters of a point's label

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Part:
    """A part of a bar; ``kind`` is a class of the page's, see ``css_class``."""

    value: float
    kind: str
    title: str


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    kind: str
    title: str
    label: str = ""


Line = tuple[str, str, Sequence[tuple[float, float]]]  # label, class, corners


def css_class(dtype: str) -> str:
    """The colour class of a datatype."""
    return CLASSES.get(dtype, "other")


def bars(
    title: str, rows: Sequence[tuple[str, Sequence[Part], str]], width: int = 760
) -> ET.Element:
    """Horizontal bars on one scale, each of parts side by side.

    Args:
        title: what a screen reader says.
        rows: label before the bar, its parts, and the text behind it.
    """
    most = max((sum(part.value for part in parts) for _, parts, _ in rows), default=0) or 1
    left = LETTER * max((len(shorten(label, 44)) for label, _, _ in rows), default=0) + 10
    right = LETTER * max((len(behind) for _, _, behind in rows), default=0) + 14
    scale = max(60.0, width - left - right) / most
    root = figure(title, width, ROW * len(rows) + 4)
    for number, (label, parts, behind) in enumerate(rows):
        y, x = ROW * number + 2, left
        text(root, left - 8, y + 14, shorten(label, 44), "end")
        for part in parts:
            size = part.value * scale
            bar = add(
                root,
                "rect",
                x=x,
                y=y + 2,
                width=max(size, 0.5),
                height=ROW - 6,
                rx=2,
                kind=f"fill {part.kind}",
            )
            add(bar, "title").text = part.title
            x += size
        text(root, x + 6, y + 14, behind)
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
    """Points and lines; None without any point. A label for which there is no room is left out.

    Args:
        lines: a corner's x may be infinite: it lies on the edge.
        log: both axes are logarithmic and take what is over 0.
        key: class and meaning of kinds of points.
        most: where x ends by nature.
    """
    shown = [point for point in points if not log or (point.x > 0 and point.y > 0)]
    if not shown:
        return None
    corners = [corner for _, _, drawn in lines for corner in drawn]
    top, low, right = 34.0 if key else 14.0, height - 42.0, width - 34.0
    y_of, y_ticks = _axis([point.y for point in shown] + [y for _, y in corners], low, top, log)
    left = 30 + LETTER * max((len(_number(tick)) for tick in y_ticks), default=0)
    x_of, x_ticks = _axis(
        [point.x for point in shown] + [x for x, _ in corners if math.isfinite(x)],
        left,
        right,
        log,
        most,
    )
    root = figure(title, width, height)
    for tick in x_ticks:
        line(root, x_of(tick), low, x_of(tick), top, "grid")
        text(root, x_of(tick), low + 16, _number(tick), "middle")
    for tick in y_ticks:
        line(root, left, y_of(tick), right, y_of(tick), "grid")
        text(root, left - 6, y_of(tick) + 4, _number(tick), "end")
    text(root, (left + right) / 2, height - 6, x_label, "middle")
    text(
        root, 0, 0, y_label, "middle", transform=f"translate(12 {(top + low) / 2:.0f}) rotate(-90)"
    )
    _key(root, key, left)
    paths = [[(max(left, min(x_of(x), right)), y_of(y)) for x, y in drawn] for _, _, drawn in lines]
    for (label, kind, _), path in zip(lines, paths, strict=True):
        drawn = add(
            root,
            "polyline",
            points=" ".join(f"{x:.1f},{y:.1f}" for x, y in path),
            kind=f"line {kind}",
        )
        add(drawn, "title").text = label
    dots = [(x_of(point.x), y_of(point.y)) for point in shown]
    for point, (x, y) in zip(shown, dots, strict=True):
        dot = add(root, "circle", cx=x, cy=y, r=DOT, kind=f"fill dot {point.kind}")
        add(dot, "title").text = point.title
    ends = [
        (label, [path[-1], path[0], _middle(path)])
        for (label, _, _), path in zip(lines, paths, strict=True)
        if label and path
    ]
    names = [
        (shorten(point.label, SHOWN), [dot])
        for point, dot in zip(shown, dots, strict=True)
        if point.label
    ]
    _labels(
        root,
        ends + names,
        [_around(*dot, DOT) for dot in dots],
        [each for path in paths for each in _along(path)],
        (left, top - 12, width, low),
    )
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
    """Points of which more y and less x is better, and the line through those that no other one
    beats.

    Args:
        more: more x is better, too.
        beside: points that don't compete.
        lines, key, most: see ``scatter``.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (-each.x if more else each.x, -each.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    front: list[Line] = (
        [("", "front", [(point.x, point.y) for point in best])] if len(best) > 1 else []
    )
    return scatter(
        title, [*points, *beside], x_label, y_label, lines=[*lines, *front], key=key, most=most
    )


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
    """Counts of magnitudes over [0, limit) on a logarithmic scale, and where INT8's range ends.

    Args:
        axes: with scales and their names, for a picture that stands alone.
    """
    left, top, right, low = (
        (62.0, 34.0, width - 24.0, height - 42.0) if axes else (0.0, 0.0, width, height - 16.0)
    )
    columns = min(int((right - left) / 4), len(counts)) or 1
    sums = [
        sum(counts[column * len(counts) // columns : (column + 1) * len(counts) // columns])
        for column in range(columns)
    ]
    most = math.log1p(max(sums, default=0)) or 1.0
    root = figure(title, width, height)

    def y_of(count: float) -> float:
        return low - (low - top - 2) * math.log1p(count) / most

    if axes:
        _scales(root, (left, top, right, low), y_of, max(sums, default=0), limit)
    step = (right - left) / columns
    for column, count in enumerate(sums):
        if count:
            inside = limit * column / columns < threshold
            add(
                root,
                "rect",
                x=left + step * column,
                y=y_of(count),
                width=max(1.0, step - 0.6),
                height=low - y_of(count),
                kind=f"fill {'int8' if inside else 'other'}",
            )
    if limit > 0:
        x = min(right - 1.0, left + (right - left) * threshold / limit)
        line(root, x, top, x, low, "mark")
        said = f"INT8 ends at {_number(threshold)}" if axes else _number(threshold)
        half = LETTER * len(said) / 2
        text(root, max(half, min(x, width - half)), top - 8 if axes else height - 4, said, "middle")
    return root


def _scales(
    root: ET.Element, box: Box, y_of: Callable[[float], float], most: int, limit: float
) -> None:
    left, top, right, low = box
    powers = (
        range(0, int(math.log10(most)) + 1, 1 + int(math.log10(most)) // 5) if most else range(0)
    )
    for power in powers:
        line(root, left, y_of(10**power), right, y_of(10**power), "grid")
        text(root, left - 6, y_of(10**power) + 4, _power(power), "end")
    for tick in _ticks(0.0, limit) if limit > 0 else [0.0]:
        x = left + (right - left) * (tick / limit if limit else 0)
        line(root, x, low, x, low + 4, "grid")
        text(root, x, low + 18, _number(tick), "middle")
    line(root, left, low, right, low, "grid")
    text(root, (left + right) / 2, low + 36, "magnitude", "middle")
    text(
        root, 0, 0, "values", "middle", transform=f"translate(12 {(top + low) / 2:.0f}) rotate(-90)"
    )


def _axis(
    values: Sequence[float], low: float, high: float, log: bool, limit: float = math.inf
) -> tuple[Callable[[float], float], list[float]]:
    """A function from values to pixels, and values to print."""
    least, most = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
        last = max(last, first + 1)
        ticks = [10.0**power for power in range(first, last + 1)]
        ticks = ticks[:: max(1, len(ticks) // 8)]
        return (
            lambda value: low + (high - low) * (math.log10(value) - first) / (last - first),
            ticks,
        )
    pad = (most - least) * 0.08 or abs(most) * 0.1 or 1.0
    least, most = least - pad, max(most, min(most + pad, limit))
    return lambda value: low + (high - low) * (value - least) / (most - least), _ticks(least, most)


def _ticks(least: float, most: float) -> list[float]:
    """Round numbers of a range, 3 to 7 of them."""
    step = 10 ** math.floor(math.log10((most - least) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (most - least) / (step * factor) <= 6)
    return [step * number for number in range(math.ceil(least / step), math.floor(most / step) + 1)]


def _key(root: ET.Element, key: Sequence[tuple[str, str]], left: float) -> None:
    for kind, meaning in key:
        add(root, "circle", cx=left + DOT, cy=10, r=DOT, kind=f"fill {kind}")
        text(root, left + 14, 14, meaning)
        left += 34 + LETTER * len(meaning)


def _labels(
    root: ET.Element,
    wanted: Sequence[tuple[str, list[tuple[float, float]]]],
    dots: list[Box],
    lines: list[Box],
    frame: Box,
) -> None:
    """Each text beside one of its places, on no other text and no dot, and on no line if that can
    be.
    """
    taken = list(dots)
    for label, places in wanted:
        size = LETTER * len(label)
        spots = [
            (left, base - 10, left + size, base + 3)
            for x, y in places
            for base in (y - 6, y + 15, y + 4, y - 20, y + 29)
            for left in (x + 7, x - 7 - size, x - size / 2)
        ]
        free = [
            spot
            for spot in spots
            if _inside(spot, frame) and not any(_meet(spot, each) for each in taken)
        ]
        best = next(
            (spot for spot in free if not any(_meet(spot, each) for each in lines)),
            next(iter(free), None),
        )
        if best:
            text(root, best[0], best[3] - 3, label)
            taken.append(best)


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _middle(path: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the last stretch."""
    (x, y), (to_x, to_y) = path[-2:] if len(path) > 1 else [*path, *path]
    return (x + to_x) / 2, (y + to_y) / 2


def _along(path: Sequence[tuple[float, float]]) -> list[Box]:
    """Boxes on a line, a few pixels apart."""
    return [
        _around(x + (to_x - x) * step / steps, y + (to_y - y) * step / steps, 1)
        for (x, y), (to_x, to_y) in pairwise(path)
        for steps in [1 + int(math.hypot(to_x - x, to_y - y) / 6)]
        for step in range(steps + 1)
    ]


def _inside(box: Box, frame: Box) -> bool:
    return frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _power(power: int) -> str:
    """A power of ten: 1, 10, 100, 1k, up to all that 64 bits count."""
    return f"{10 ** (power % 3)}{('', *'kMGTPE')[power // 3]}"
