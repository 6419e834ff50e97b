"""Drawing of the scenes: sprites, shadows and light, in integer arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from backgrounds import value_noise
from PIL import Image, ImageDraw, ImageFilter
from shapes import COS, SIN, Shape, between


class Sprite(NamedTuple):
    rgb: np.ndarray  # (h, w, 3) int32
    alpha: np.ndarray  # (h, w) int32, 0..255
    x: int
    y: int
    label: int  # -1: a distractor


def draw_shape(shape: Shape, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rasterises a shape turned, sheared and scaled to about `size` pixels: alpha and shade, two
    (h, w) int32.

    Drawn three times too large and averaged, which softens the edges. Shade 128 leaves a colour as
    it is.
    """
    over, d = 3, between(rng, 0, 359)
    aspect, shear, mirror = between(rng, 78, 100), between(rng, -18, 18), 1 - 2 * between(rng, 0, 1)
    half = size * over // 2
    points = []
    for _, polygon in shape:
        moved = []
        for u, v in polygon:
            px, py = u + v * shear // 100, mirror * v * aspect // 100
            moved.append(
                (
                    (px * COS[d] - py * SIN[d]) * half // (1000 * 16384),
                    (px * SIN[d] + py * COS[d]) * half // (1000 * 16384),
                )
            )
        points.append(moved)
    body = [
        p for (kind, _), moved in zip(shape, points, strict=True) if kind == "body" for p in moved
    ]
    x0, y0 = min(p[0] for p in body) - over, min(p[1] for p in body) - over
    w = -(-(max(p[0] for p in body) + over - x0) // over)
    h = -(-(max(p[1] for p in body) + over - y0) // over)
    alpha, shade = (Image.new("L", (w * over, h * over), tone) for tone in (0, 128))
    fill_alpha, fill_shade = ImageDraw.Draw(alpha), ImageDraw.Draw(shade)
    tones = {"body": 128, "dark": between(rng, 60, 95), "light": between(rng, 150, 200)}
    for (kind, _), moved in zip(shape, points, strict=True):
        local = [(x - x0, y - y0) for x, y in moved]
        if kind in ("body", "hole"):
            fill_alpha.polygon(local, fill=255 if kind == "body" else 0)
        if kind != "hole":
            fill_shade.polygon(local, fill=tones[kind])
    return tuple(np.asarray(image.reduce(over)).astype(np.int32) for image in (alpha, shade))  # type: ignore[return-value]


def paint(alpha: np.ndarray, shade: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours a sprite, (h, w, 3) int32: a base colour, a light side, a dark rim, speckle and
    sometimes a glare.
    """
    h, w = alpha.shape
    metal = between(rng, 0, 1)
    base = between(rng, 50, 210) + rng.integers(-22, 23, 3) if metal else rng.integers(20, 236, 3)
    d = between(rng, 0, 359)
    y, x = np.arange(h)[:, None] - h // 2, np.arange(w)[None] - w // 2
    side = (x * COS[d] + y * SIN[d]) * between(rng, 10, 60) // (8192 * max(h, w))
    tone = (
        128
        + side
        + (rng.integers(0, 256, (h, w), dtype=np.uint8) >> between(rng, 3, 6)).astype(np.int32)
    )
    rim = np.asarray(
        Image.fromarray(alpha.astype(np.uint8)).filter(ImageFilter.BoxBlur(1 + max(h, w) // 60))
    )
    tone = tone * (110 + rim.astype(np.int32) * 18 // 255) >> 7
    rgb = base.astype(np.int32) * (tone * shade >> 7)[..., None] >> 7
    if between(rng, 0, 2) == 0:  # a glare line, bright enough to clip
        u = (x * COS[d] + y * SIN[d] >> 14) - between(rng, -w // 4, w // 4)
        reach = max(2, min(h, w) // between(rng, 6, 16))
        rgb = rgb + (np.maximum(reach - np.abs(u), 0) * between(rng, 60, 220) // reach)[..., None]
    return np.clip(rgb, 0, 255)


def strip(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A cable or a ruler lying across the picture: hides things, never labelled."""
    image = Image.new("L", (2 * width, 2 * height))
    ends = [(between(rng, 0, 2 * width - 1), between(rng, 0, 2 * height - 1)) for _ in range(2)]
    ImageDraw.Draw(image).line(ends, fill=255, width=between(rng, 8, 52))
    image = image.reduce(2)
    x0, y0, x1, y1 = image.getbbox()
    alpha = np.asarray(image)[y0:y1, x0:x1].astype(np.int32)
    return Sprite(paint(alpha, np.full_like(alpha, 128), rng), alpha, x0, y0, -1)


def windows(
    sprite: Sprite, height: int, width: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture a sprite covers, and the part of the sprite that lies inside the
    picture.
    """
    h, w = sprite.alpha.shape
    y0, x0, y1, x1 = (
        max(sprite.y, 0),
        max(sprite.x, 0),
        min(sprite.y + h, height),
        min(sprite.x + w, width),
    )
    inside = slice(y0 - sprite.y, y1 - sprite.y), slice(x0 - sprite.x, x1 - sprite.x)
    return (slice(y0, y1), slice(x0, x1)), inside


def blend(canvas: np.ndarray, sprite: Sprite, shadow: tuple[int, int, int]) -> None:
    """Draws a sprite over its drop shadow (dx, dy, strength of 256) on `canvas` (H, W, 3) uint8, in
    place.
    """
    dx, dy, strength = shadow
    below = sprite._replace(x=sprite.x + dx, y=sprite.y + dy)
    outer, inner = windows(below, *canvas.shape[:2])
    # A shadow may fall outside the picture.
    if outer[0].start < outer[0].stop and outer[1].start < outer[1].stop:
        canvas[outer] = (
            canvas[outer] * (256 * 255 - below.alpha[inner] * strength)[..., None] // (256 * 255)
        )
    outer, inner = windows(sprite, *canvas.shape[:2])
    alpha = sprite.alpha[inner][..., None]
    canvas[outer] = (sprite.rgb[inner] * alpha + canvas[outer] * (255 - alpha) + 127) // 255


def light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, a colour cast, lamp spots that clip, blur and grain: (H, W, 3) uint8 in and
    out.
    """
    h, w = image.shape[:2]
    gain = (between(rng, 90, 300) * rng.integers(85, 116, 3) // 100).astype(np.int32)
    uneven = value_noise(rng, h, w, max(h, w) // between(rng, 1, 3)).astype(np.int32)
    field = 256 + (uneven - 128) * between(rng, 0, 200) // 128
    out = image.astype(np.int32) * field[..., None] // 256 * gain // 256
    if between(rng, 0, 3) == 0:
        r, cy, cx = between(rng, 40, 200), between(rng, 0, h), between(rng, 0, w)
        y, x = np.arange(h)[:, None] - cy, np.arange(w)[None] - cx
        out += (np.maximum(r * r - y * y - x * x, 0) * between(rng, 80, 255) // (r * r))[
            ..., None
        ].astype(np.int32)
    picture = Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))
    if between(rng, 0, 2) == 0:
        picture = picture.filter(ImageFilter.BoxBlur(between(rng, 1, 2)))
    grain = between(rng, 0, 22)
    # The sum of two dice is bell-like enough, and needs no logarithm.
    noise = (
        rng.integers(0, 256, (2, h, w, 1 if between(rng, 0, 1) else 3), dtype=np.uint8)
        .astype(np.int32)
        .sum(0)
        - 255
    )
    return np.clip(np.asarray(picture).astype(np.int32) + noise * grain // 256, 0, 255).astype(
        np.uint8
    )
