"""Lay out the axes of a plot: from values to pixels, and the values that are printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from trtforge.reporting.svg import line, text


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """The middle of its width."""
        return (self.left + self.right) / 2


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        position: turns a value into pixels.
        ticks: values to print.
    """

    position: Callable[[float], float]
    ticks: list[float]


def axis(
    values: Sequence[float], start: float, end: float, log: bool, limit: float = math.inf
) -> Axis:
    """Return an axis on which all values are visible.

    Args:
        start, end: position of its ends in pixels.
        log: the axis is logarithmic, and all values are above 0.
        limit: a linear axis ends here at the latest, if no value is larger.
    """
    low, high = min(values), max(values)
    length = end - start
    if log:
        first = math.floor(math.log10(low))
        last = max(math.ceil(math.log10(high)), first + 1)
        powers = [10.0**power for power in range(first, last + 1)]
        return Axis(
            lambda value: start + length * (math.log10(value) - first) / (last - first),
            powers[:: max(1, len(powers) // 8)],
        )
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - margin, max(high, min(high + margin, limit))
    return Axis(lambda value: start + length * (value - low) / (high - low), ticks(low, high))


def ticks(low: float, high: float) -> list[float]:
    """Return 3 to 7 round numbers in a range."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw_axes(root: ET.Element, frame: Box, x: Axis, y: Axis, x_label: str, y_label: str) -> None:
    """Draw a grid, the values of the ticks, and the names of both axes."""
    for tick in x.ticks:
        line(root, x.position(tick), frame.bottom, x.position(tick), frame.top, "grid")
        text(root, x.position(tick), frame.bottom + 16, number(tick), "middle")
    for tick in y.ticks:
        line(root, frame.left, y.position(tick), frame.right, y.position(tick), "grid")
        text(root, frame.left - 6, y.position(tick) + 4, number(tick), "end")
    text(root, frame.middle, frame.bottom + 36, x_label, "middle")
    vertical_label(root, frame, y_label)


def vertical_label(root: ET.Element, frame: Box, label: str) -> None:
    """Write the name of the y axis, upwards, at the left edge."""
    turn = f"translate(12 {(frame.top + frame.bottom) / 2:.0f}) rotate(-90)"
    text(root, 0, 0, label, "middle", transform=turn)


def number(value: float) -> str:
    """Return a value with four digits."""
    return f"{value:.4g}"


def power_of_ten(power: int) -> str:
    """Return a power of ten in short form: 1, 10, 100, 1k, up to everything that 64 bits count."""
    return f"{10 ** (power % 3)}{('', *'kMGTPE')[power // 3]}"
