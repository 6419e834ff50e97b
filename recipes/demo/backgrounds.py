"""Background textures in integer arithmetic; each split of the data owns families that no other
split uses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from shapes import COS, SIN, between

Field = np.ndarray  # (H, W) uint8


def enlarge(grid: np.ndarray, height: int, width: int) -> Field:
    """`grid` (h, w) uint8 enlarged to (height, width); Pillow's 8-bit resize works in fixed point."""
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def value_noise(
    rng: np.random.Generator, height: int, width: int, cell_y: int, cell_x: int | None = None
) -> Field:
    cells = (height // cell_y + 2, width // (cell_x or cell_y) + 2)
    return enlarge(rng.integers(0, 256, cells, dtype=np.uint8), height, width)


def cloud_sum(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Three octaves of value noise: (H, W) int32 in 0..255."""
    a, b, c = (
        value_noise(rng, height, width, max(2, cell >> i)).astype(np.int32) for i in (0, 1, 3)
    )
    return (4 * a + 2 * b + 2 * c) >> 3


def tilted(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates turned by a whole random angle: two (H, W) int32."""
    d = between(rng, 0, 359)
    y, x = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)[None]
    return (x * COS[d] + y * SIN[d]) >> 14, (y * COS[d] - x * SIN[d]) >> 14


def triangle(v: np.ndarray, period: int) -> np.ndarray:
    """A triangle wave of `v` with values 0..255, int32."""
    m = v % period
    return np.minimum(m, period - m) * 510 // period


def to_field(v: np.ndarray) -> Field:
    return np.clip(v, 0, 255).astype(np.uint8)


# --- train
# ----------------------------------------------------------------------------------------------------------


def cloud(rng: np.random.Generator, h: int, w: int) -> Field:
    return to_field(cloud_sum(rng, h, w, between(rng, 24, 160)))


def planks(rng: np.random.Generator, h: int, w: int) -> Field:
    u, _ = tilted(rng, h, w)
    period = between(rng, 24, 140)
    tone = rng.integers(60, 200, 4096).astype(np.int32)[(u // period) % 4096]
    return to_field(
        tone
        + (value_noise(rng, h, w, between(rng, 3, 12)).astype(np.int32) >> 2)
        - 60 * (u % period < 3)
    )


def patches(rng: np.random.Generator, h: int, w: int) -> Field:
    image = Image.new("L", (w, h), between(rng, 0, 255))
    draw = ImageDraw.Draw(image)
    for _ in range(between(rng, 10, 45)):
        x, y, r = between(rng, 0, w), between(rng, 0, h), between(rng, 15, 160)
        points = [
            (x + between(rng, -r, r), y + between(rng, -r, r)) for _ in range(between(rng, 3, 6))
        ]
        draw.polygon(points, fill=between(rng, 0, 255))
    return np.asarray(image)


def brushed(rng: np.random.Generator, h: int, w: int) -> Field:
    long, short = between(rng, 60, 250), between(rng, 2, 5)
    a, b = (long, short) if between(rng, 0, 1) else (short, long)
    return to_field(
        (value_noise(rng, h, w, a, b).astype(np.int32) + 2 * value_noise(rng, h, w, 90)) // 3
    )


def camouflage(rng: np.random.Generator, h: int, w: int) -> Field:
    levels = between(rng, 3, 6)
    return to_field(
        cloud_sum(rng, h, w, between(rng, 40, 120)) * levels // 256 * (255 // (levels - 1))
    )


def stripes(rng: np.random.Generator, h: int, w: int) -> Field:
    u, _ = tilted(rng, h, w)
    return to_field(
        triangle(u + (value_noise(rng, h, w, 80) >> between(rng, 2, 5)), between(rng, 14, 120))
    )


# --- calibration
# ----------------------------------------------------------------------------------------------------


def checker(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = tilted(rng, h, w)
    side = between(rng, 18, 80)
    return to_field(
        ((u // side + v // side) & 1) * between(rng, 80, 180) + (cloud_sum(rng, h, w, 60) >> 2)
    )


def halftone(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = tilted(rng, h, w)
    period = between(rng, 14, 60)
    return to_field(
        (triangle(u, period) + triangle(v, period)) // 2
        + (value_noise(rng, h, w, 120).astype(np.int32) >> 1)
        - 64
    )


# --- tuning
# ---------------------------------------------------------------------------------------------------------


def bricks(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = tilted(rng, h, w)
    tall = between(rng, 16, 50)
    long, row = 2 * tall + between(rng, 0, 30), v // tall
    shifted = u + (row & 1) * (long // 2)
    mortar = (v % tall < 3) | (shifted % long < 3)
    tone = rng.integers(90, 220, 4096).astype(np.int32)[(row * 31 + shifted // long) % 4096]
    return to_field(np.where(mortar, 30, tone) + (value_noise(rng, h, w, 4).astype(np.int32) >> 3))


def contours(rng: np.random.Generator, h: int, w: int) -> Field:
    return to_field(
        triangle(cloud_sum(rng, h, w, between(rng, 100, 220)) * between(rng, 4, 9), 256)
    )


# --- validation
# -----------------------------------------------------------------------------------------------------


def cells(rng: np.random.Generator, h: int, w: int) -> Field:
    """Voronoi cells, at a quarter of the resolution to keep it quick."""
    n, gh, gw = between(rng, 20, 70), h // 4, w // 4
    py, px = rng.integers(0, gh, n), rng.integers(0, gw, n)
    y, x = np.arange(gh)[:, None, None], np.arange(gw)[None, :, None]
    near = ((y - py) ** 2 + (x - px) ** 2).argmin(2)
    grid = rng.integers(20, 236, n).astype(np.uint8)[near]
    return to_field(
        enlarge(grid, h, w).astype(np.int32) + (value_noise(rng, h, w, 6).astype(np.int32) >> 3)
    )


def weave(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = tilted(rng, h, w)
    p = between(rng, 10, 44)
    over = ((u // p) + (v // p)) & 1
    return to_field(
        np.where(over == 1, triangle(u, p), triangle(v, p)) * between(rng, 90, 200) // 255
        + (cloud_sum(rng, h, w, 130) >> 2)
    )


def rings(rng: np.random.Generator, h: int, w: int) -> Field:
    cy, cx = between(rng, -h, 2 * h), between(rng, -w, 2 * w)
    y, x = np.arange(h)[:, None] - cy, np.arange(w)[None] - cx
    # The square root of IEEE 754 is rounded in the same way on every machine.
    r = np.sqrt((x * x + y * y).astype(np.float64)).astype(np.int32)
    return to_field(triangle(r + (value_noise(rng, h, w, 70) >> 2), between(rng, 12, 70)))


FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int, int], Field], ...]] = {
    "train": (cloud, planks, patches, brushed, camouflage, stripes),
    "calibration": (checker, halftone),
    "tuning": (bricks, contours),
    "validation": (cells, weave, rings),
}


def background(rng: np.random.Generator, split: str, height: int, width: int) -> np.ndarray:
    """A coloured texture of one of the split's families: (H, W, 3) uint8."""
    field = FAMILIES[split][between(rng, 0, len(FAMILIES[split]) - 1)](rng, height, width)
    stops = rng.integers(0, 256, (3, 3)).astype(np.int32)
    # Colours near a common one give calm scenes, others give busy ones.
    base = rng.integers(0, 256, 3).astype(np.int32)
    stops = base + (stops - base) * between(rng, 15, 70) // 100
    t = np.arange(128, dtype=np.int32)[:, None]
    ramp = np.concatenate([(stops[i] * (128 - t) + stops[i + 1] * t) >> 7 for i in (0, 1)])
    return ramp.astype(np.uint8)[field]
