"""Plots as SVG: plain data in, text out. Colours and fonts are the page's, by class, so that both themes fit.

What a bar or point says when a pointer rests on it is its ``<title>``; every text is escaped by ElementTree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

CLASSES = {"Int8": "int8", "UInt8": "int8", "Half": "half", "BFloat16": "half", "Float": "float", "FP8": "fp8",
           "FP4": "fp8", "Int4": "fp8"}  # fmt: skip
LETTER = 7.0  # pixels that a letter takes, about
ROW = 22  # pixels from bar to bar


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


def css_class(dtype: str) -> str:
    """The colour class of a datatype."""
    return CLASSES.get(dtype, "other")


def bars(title: str, rows: Sequence[tuple[str, Sequence[Part], str]], width: int = 760) -> str:
    """Horizontal bars on one scale, each of parts side by side.

    Args:
        title: what a screen reader says.
        rows: label before the bar, its parts, and the text behind it.
    """
    most = max((sum(part.value for part in parts) for _, parts, _ in rows), default=0) or 1
    left = LETTER * max((len(cut(label, 44)) for label, _, _ in rows), default=0) + 10
    right = LETTER * max((len(text) for _, _, text in rows), default=0) + 14
    scale = max(60.0, width - left - right) / most
    root = _svg(title, width, ROW * len(rows) + 4)
    for number, (label, parts, text) in enumerate(rows):
        y, x = ROW * number + 2, left
        _text(root, left - 8, y + 14, cut(label, 44), "end")
        for part in parts:
            size = part.value * scale
            bar = _add(root, "rect", x=x, y=y + 2, width=max(size, 0.5), height=ROW - 6, rx=2)
            bar.set("class", f"fill {part.kind}")
            _add(bar, "title").text = part.title
            x += size
        _text(root, x + 6, y + 14, text)
    return _string(root)


def scatter(
    title: str, points: Sequence[Point], x_label: str, y_label: str, *, log: bool = False,
    lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]] = (), width: int = 760, height: int = 340,
) -> str:  # fmt: skip
    """Points, and lines by (label, class, corners); with ``log`` both axes are logarithmic and take what is over 0."""
    shown = [point for point in points if not log or (point.x > 0 and point.y > 0)]
    corners = [corner for _, _, line in lines for corner in line]
    if not shown:
        return ""
    x_of, x_ticks = _axis([point.x for point in shown] + [x for x, _ in corners], 62, width - 34, log)
    y_of, y_ticks = _axis([point.y for point in shown] + [y for _, y in corners], height - 42, 14, log)
    root = _svg(title, width, height)
    for tick in x_ticks:
        _line(root, x_of(tick), height - 42, x_of(tick), 14, "grid")
        _text(root, x_of(tick), height - 26, _number(tick), "middle")
    for tick in y_ticks:
        _line(root, 62, y_of(tick), width - 34, y_of(tick), "grid")
        _text(root, 56, y_of(tick) + 4, _number(tick), "end")
    _text(root, (62 + width - 16) / 2, height - 6, x_label, "middle")
    _text(root, 0, 0, y_label, "middle", transform=f"translate(12 {(height - 28) / 2:.0f}) rotate(-90)")
    for label, kind, line in lines:
        path = _add(root, "polyline", points=" ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line))
        path.set("class", f"line {kind}")
        _add(path, "title").text = label
        if label and line:
            _text(root, x_of(line[-1][0]) - 4, y_of(line[-1][1]) - 5, label, "end")
    for point in shown:
        dot = _add(root, "circle", cx=x_of(point.x), cy=y_of(point.y), r=4.5)
        dot.set("class", f"fill dot {point.kind}")
        _add(dot, "title").text = point.title
        if point.label:
            _text(root, x_of(point.x) + 7, y_of(point.y) - 6, cut(point.label, 32))
    return _string(root)


def histogram(
    title: str, counts: Sequence[int], limit: float, threshold: float, width: int = 240, height: int = 96
) -> str:
    """Counts of magnitudes over [0, limit) on a logarithmic scale, and where INT8's range ends."""
    columns = min(60, len(counts)) or 1
    sums = [sum(counts[column * len(counts) // columns : (column + 1) * len(counts) // columns])
            for column in range(columns)]  # fmt: skip
    most = math.log1p(max(sums, default=0)) or 1.0
    root = _svg(title, width, height)
    for column, count in enumerate(sums):
        if count:
            size = (height - 18) * math.log1p(count) / most
            bar = _add(root, "rect", x=width * column / columns, y=height - 16 - size,
                       width=max(1.0, width / columns - 0.6), height=size)  # fmt: skip
            inside = limit * column / columns < threshold
            bar.set("class", f"fill {'int8' if inside else 'other'}")
    if limit > 0:
        x = min(width - 1.0, width * threshold / limit)
        _line(root, x, 0, x, height - 16, "mark")
        _text(root, min(x, width - 30), height - 4, _number(threshold), "middle")
    return _string(root)


def pareto(title: str, points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Points of which less x and more y is better, and the line through those that no other one beats."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.x, -each.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    front = [(point.x, point.y) for point in best]
    return scatter(title, points, x_label, y_label, lines=[("", "front", front)] if len(front) > 1 else [])


def cut(text: str, length: int) -> str:
    """The text on one line, with its middle left out where it is longer."""
    flat = " ".join(text[: 100 * length].split()) if len(text) <= 100 * length else text
    half = (length - 1) // 2
    return flat if len(flat) <= length else f"{flat[:half]}…{flat[-half:]}"


def _axis(values: Sequence[float], low: float, high: float, log: bool) -> tuple[Callable[[float], float], list[float]]:
    """A function from values to pixels, and values to print."""
    least, most = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
        last = max(last, first + 1)
        ticks = [10.0**power for power in range(first, last + 1)]
        ticks = ticks[:: max(1, len(ticks) // 8)]
        return lambda value: low + (high - low) * (math.log10(value) - first) / (last - first), ticks
    pad = (most - least) * 0.08 or abs(most) * 0.1 or 1.0
    least, most = least - pad, most + pad
    step = 10 ** math.floor(math.log10((most - least) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (most - least) / (step * factor) <= 6)
    start = math.ceil(least / step)
    ticks = [step * number for number in range(start, math.floor(most / step) + 1)]
    return lambda value: low + (high - low) * (value - least) / (most - least), ticks


def _number(value: float) -> str:
    return f"{value:.4g}"


def _svg(title: str, width: float, height: float) -> ET.Element:
    return ET.Element("svg", {"viewBox": f"0 0 {width:.0f} {height:.0f}", "class": "plot", "role": "img",
                              "aria-label": title, "width": f"{width:.0f}"})  # fmt: skip


def _add(parent: ET.Element, name: str, **attributes: float | str) -> ET.Element:
    written = {key.replace("_", "-"): f"{value:.2f}" if isinstance(value, float) else str(value)
               for key, value in attributes.items()}  # fmt: skip
    return ET.SubElement(parent, name, written)


def _text(parent: ET.Element, x: float, y: float, text: str, anchor: str = "start", **more: str) -> None:
    _add(parent, "text", x=float(x), y=float(y), text_anchor=anchor, **more).text = text


def _line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    _add(parent, "line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2)).set("class", kind)


def _string(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")
