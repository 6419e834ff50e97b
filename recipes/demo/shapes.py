"""Outlines of the ten object classes and of the distractors that resemble them.

A shape is a list of parts `(kind, polygon)` in integer coordinates, about -1000..1000 on both axes,
y down:

- `body`  adds to the silhouette,
- `hole`  removes from the silhouette (the background shows through),
- `dark`, `light`  change the shade of what is already there.

Every number is an integer and angles are whole degrees looked up in an integer table, so that a
shape is the same on every CPU and with every C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Polygon = list[tuple[int, int]]
Shape = list[tuple[str, Polygon]]

# round() to 2^-14 hides last-place differences between C libraries: no entry lies near a rounding
# tie.
COS = [round(math.cos(math.radians(d)) * 16384) for d in range(360)]
SIN = [round(math.sin(math.radians(d)) * 16384) for d in range(360)]


def polar(r: int, degrees: int, cx: int = 0, cy: int = 0) -> tuple[int, int]:
    """The point at radius `r` and angle `degrees` around `(cx, cy)`."""
    return cx + (r * COS[degrees % 360] >> 14), cy + (r * SIN[degrees % 360] >> 14)


def ngon(r: int, n: int, cx: int = 0, cy: int = 0) -> Polygon:
    """A regular polygon of `n` corners; `n >= 24` serves as a circle."""
    return [polar(r, 360 * i // n, cx, cy) for i in range(n)]


def circle(r: int, cx: int = 0, cy: int = 0) -> Polygon:
    return ngon(r, 36, cx, cy)


def rect(x0: int, y0: int, x1: int, y1: int) -> Polygon:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def toothed(r: int, depth: int, teeth: int) -> Polygon:
    """A wheel with `teeth` trapezoid teeth."""
    outline = []
    for i in range(teeth):
        for radius, part in ((r - depth, 0), (r - depth, 20), (r, 32), (r, 68), (r - depth, 80)):
            outline.append(polar(radius, (360 * (100 * i + part)) // (100 * teeth)))
    return outline


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(rng.integers(low, high + 1))


# --- the ten classes
# ------------------------------------------------------------------------------------------------


def nut(rng: np.random.Generator) -> Shape:
    hole = between(rng, 430, 600)
    return [
        ("body", ngon(1000, 6)),
        ("light", circle(min(hole + 190, 820))),
        ("dark", circle(hole + 70)),
        ("hole", circle(hole)),
    ]


def washer(rng: np.random.Generator) -> Shape:
    hole = between(rng, 380, 680)
    return [("body", circle(1000)), ("dark", circle(hole + 60)), ("hole", circle(hole))]


def gear(rng: np.random.Generator) -> Shape:
    hole, teeth = between(rng, 180, 330), between(rng, 9, 14)
    return [
        ("body", toothed(1000, between(rng, 180, 260), teeth)),
        ("light", circle(620)),
        ("dark", circle(520)),
        ("light", circle(hole + 90)),
        ("hole", circle(hole)),
    ]


def threads(x0: int, x1: int, half: int, pitch: int) -> Shape:
    """Slanted dark stripes across a shank along x."""
    return [
        ("dark", [(x, -half), (x + pitch // 2, -half), (x + pitch // 2 + 50, half), (x + 50, half)])
        for x in range(x0, x1 - pitch, pitch)
    ]


def bolt(rng: np.random.Generator) -> Shape:
    head, half = between(rng, -620, -480), between(rng, 190, 270)
    tip = rect(head, -half, 1000, half)
    return [
        ("body", tip),
        *threads(between(rng, -350, 100), 1000, half, 130),
        ("body", rect(-1000, -560, head, 560)),
        ("dark", rect(-1000, -250, head, -190)),
        ("dark", rect(-1000, 190, head, 250)),
    ]


def screw(rng: np.random.Generator) -> Shape:
    half, neck = between(rng, 170, 230), between(rng, -740, -640)
    cone = [(neck, -half), (500, -half), (1000, 0), (500, half), (neck, half)]
    head = [(-1000, -480), (-920, -520), (neck, -half), (neck, half), (-920, 520), (-1000, 480)]
    return [
        ("body", cone),
        *threads(neck + 80, 640, half, 150),
        ("body", head),
        ("dark", rect(-1000, -70, -870, 70)),
    ]


def key(rng: np.random.Generator) -> Shape:
    bow = between(rng, 340, 430)
    parts: Shape = [("body", circle(bow, -1000 + bow)), ("body", rect(-400, -100, 1000, 100))]
    for x in (430, 620, 810):
        parts.append(("body", rect(x, 90, x + 110, between(rng, 200, 380))))
    return [*parts, ("dark", rect(-200, -30, 950, 30)), ("hole", circle(bow // 2, -1000 + bow))]


def wrench(rng: np.random.Generator) -> Shape:
    jaw, half = between(rng, 330, 400), between(rng, 120, 165)
    parts: Shape = [
        ("body", rect(-650, -half, 650, half)),
        ("body", circle(jaw, -1000 + jaw)),
        ("body", circle(300, 700)),
    ]
    mouth = [(-1100, -170), (-1000 + jaw, -150), (-860 + jaw, 0), (-1000 + jaw, 150), (-1100, 170)]
    return [
        *parts,
        ("dark", rect(-400, -half // 2, 400, half // 2)),
        ("hole", mouth),
        ("hole", ngon(160, 6, 700)),
    ]


def bracket(rng: np.random.Generator) -> Shape:
    arm, hole = between(rng, 440, 560), between(rng, 110, 150)
    right, bottom = between(rng, 500, 1000), 1000
    outline = [
        (-900, -1000),
        (-900 + arm, -1000),
        (-900 + arm, bottom - arm),
        (right, bottom - arm),
        (right, bottom),
        (-900, bottom),
    ]
    mid = -900 + arm // 2
    return [
        ("body", outline),
        (
            "dark",
            [
                (-900, bottom),
                (-900 + arm, bottom - arm),
                (-860 + arm, bottom - arm),
                (-860, bottom),
            ],
        ),
        ("hole", circle(hole, mid, -720)),
        ("hole", circle(hole, mid, -150)),
        ("hole", circle(hole, right - 240, bottom - arm // 2)),
    ]


def spring(rng: np.random.Generator) -> Shape:
    turns, half = between(rng, 5, 8), between(rng, 330, 450)
    step, thick = 1800 // turns, 1800 // turns // 3
    parts: Shape = []
    for i in range(turns):  # back strands first, so that front strands lie over them
        x = -900 + i * step
        parts.append(
            (
                "body",
                [
                    (x + step // 2, half),
                    (x + step // 2 + thick, half),
                    (x + step + thick, -half),
                    (x + step, -half),
                ],
            )
        )
    parts.append(("dark", rect(-1000, -half, 1000, half)))
    for i in range(turns):
        x = -900 + i * step
        parts.append(
            (
                "body",
                [
                    (x, -half),
                    (x + thick, -half),
                    (x + step // 2 + thick, half),
                    (x + step // 2, half),
                ],
            )
        )
    return parts


def battery(rng: np.random.Generator) -> Shape:
    half, band = between(rng, 360, 440), between(rng, 300, 600)
    parts: Shape = [
        ("body", rect(-1000, -half, 880, half)),
        ("body", rect(880, -150, 1000, 150)),
        ("dark", rect(-1000, -half, -1000 + band, half)),
        ("light", rect(-1000, -half // 2, 880, -half // 3)),
    ]
    plus = [("light", rect(560, -150, 640, 150)), ("light", rect(450, -40, 750, 40))]
    return parts + plus


CLASSES: dict[str, Callable[[np.random.Generator], Shape]] = {
    f.__name__: f for f in (nut, washer, gear, bolt, screw, key, wrench, bracket, spring, battery)
}


# --- distractors: one feature away from a class
# -----------------------------------------------------------------------


def distractor(rng: np.random.Generator) -> Shape:
    """A look-alike that belongs to no class: a nut without a hole, a nail, a bracket with two knees
    and so on.
    """
    kind = between(rng, 0, 8)
    if kind == 0:
        return [("body", ngon(1000, 6)), ("dark", ngon(600, 6))]
    if kind == 1:
        return [("body", circle(1000)), ("light", circle(550))]
    if kind == 2:
        return [("body", ngon(1000, between(rng, 3, 4))), ("hole", circle(between(rng, 250, 450)))]
    if kind == 3:
        star = [polar(1000 if i % 2 == 0 else 420, 36 * i) for i in range(10)]
        return [("body", star)]
    if kind == 4:  # a nail: no threads, no slot
        return [
            ("body", [(-950, -90), (800, -90), (1000, 0), (800, 90), (-950, 90)]),
            ("body", rect(-1000, -330, -900, 330)),
        ]
    if kind == 5:  # a U, not an L
        return [
            (
                "body",
                [
                    (-900, -900),
                    (-500, -900),
                    (-500, 400),
                    (500, 400),
                    (500, -900),
                    (900, -900),
                    (900, 900),
                    (-900, 900),
                ],
            )
        ]
    if kind == 6:  # a box without a cap
        return [("body", rect(-1000, -420, 1000, 420)), ("light", rect(-900, -320, 900, -200))]
    if kind == 7:  # a ring cut open
        return [
            ("body", circle(1000)),
            ("hole", circle(600)),
            ("hole", [(0, 0), polar(1500, -35), polar(1500, 35)]),
        ]
    # The shape is a dumb-bell.
    return [
        ("body", rect(-1000, -110, 1000, 110)),
        ("body", circle(280, -720)),
        ("body", circle(280, 720)),
    ]
