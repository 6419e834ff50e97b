"""Find places for the labels of a plot, so that they cover neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from trtforge.reporting.axes import Box
from trtforge.reporting.svg import LETTER

Place = tuple[float, float]  # x and y in pixels


def label_boxes(
    labels: Sequence[tuple[str, Sequence[Place]]],
    dots: Sequence[Box],
    lines: Sequence[Box],
    frame: Box,
) -> list[tuple[str, Box]]:
    """Return a box for each label for which there is room.

    A label is near one of its places. It covers no dot and no other label, and no line if that is
    possible.

    Args:
        labels: each label with the places that it may be near, best first.
        dots, lines: boxes around all dots and along all lines.
        frame: boxes stay inside it.
    """
    taken = list(dots)
    placed: list[tuple[str, Box]] = []
    for label, places in labels:
        free = [
            box
            for place in places
            for box in _boxes_near(place, LETTER * len(label))
            if _is_inside(box, frame) and not any(_overlap(box, other) for other in taken)
        ]
        if free:
            on_no_line = [box for box in free if not any(_overlap(box, other) for other in lines)]
            best = (on_no_line or free)[0]
            placed.append((label, best))
            taken.append(best)
    return placed


def _boxes_near(place: Place, width: float) -> list[Box]:
    """Return boxes for a text around a place, best first: above, below, beside, farther away."""
    x, y = place
    return [
        Box(left, baseline - 10, left + width, baseline + 3)
        for baseline in (y - 6, y + 15, y + 4, y - 20, y + 29)
        for left in (x + 7, x - 7 - width, x - width / 2)
    ]


def box_around(place: Place, radius: float) -> Box:
    """Return the box around a dot."""
    x, y = place
    return Box(x - radius, y - radius, x + radius, y + radius)


def boxes_along(path: Sequence[Place]) -> list[Box]:
    """Return small boxes along a line, 6 pixels apart at most."""
    boxes: list[Box] = []
    for (x, y), (to_x, to_y) in pairwise(path):
        steps = 1 + int(math.hypot(to_x - x, to_y - y) / 6)
        for step in range(steps + 1):
            place = x + (to_x - x) * step / steps, y + (to_y - y) * step / steps
            boxes.append(box_around(place, 1))
    return boxes


def middle_of_end(path: Sequence[Place]) -> Place:
    """Return the middle of the last section of a line."""
    (x, y), (to_x, to_y) = path[-2:] if len(path) > 1 else [*path, *path]
    return (x + to_x) / 2, (y + to_y) / 2


def _is_inside(box: Box, frame: Box) -> bool:
    return (
        frame.left <= box.left
        and frame.top <= box.top
        and box.right <= frame.right
        and box.bottom <= frame.bottom
    )


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.top < other.bottom
        and other.top < one.bottom
    )
