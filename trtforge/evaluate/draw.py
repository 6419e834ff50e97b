"""Pictures with boxes, and a sheet of many."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from trtforge.evaluate.detections import Objects

GOLDEN = (
    0.618034  # steps of the golden ratio around the colour wheel keep neighbouring classes apart
)
MOST_ON_SHEET = 48
TILE = 320  # pixels, longer side


def annotate(image: Image.Image, objects: Objects, names: Sequence[str]) -> Image.Image:
    """A copy of an RGB image with each object's box, class and score."""
    picture = image.copy()
    draw = ImageDraw.Draw(picture)
    height = max(11, round(min(picture.size) / 40))
    font = ImageFont.load_default(height)
    line = max(2, height // 6)
    for box, score, label in reversed(
        list(zip(objects.boxes.tolist(), objects.scores, objects.classes, strict=True))
    ):
        colour = _colour(int(label))
        left, top, right, bottom = box
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        name = names[label] if label < len(names) else str(label)
        _caption(draw, f"{name} {score:.2f}", (left, top), font, colour, picture.width)
    return picture


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Up to 48 pictures side by side, scaled to 320 pixels."""
    shown = [picture.copy() for picture in pictures[:MOST_ON_SHEET]]
    for picture in shown:
        picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    canvas = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + 4)), (32, 32, 32))
    for index, picture in enumerate(shown):
        left, top = (index % columns) * (TILE + 4), (index // columns) * (TILE + 4)
        canvas.paste(
            picture,
            (left + (TILE - picture.width) // 2 + 2, top + (TILE - picture.height) // 2 + 2),
        )
    return canvas


def _caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Above the box where there is room, else inside it; never beyond the image."""
    left, top = corner
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    wide, high = x1 - x0 + 4, y1 - y0 + 4
    left = max(0.0, min(left, width - wide))
    top = top - high if top >= high else top
    draw.rectangle((left, top, left + wide, top + high), fill=colour)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw.text(
        (left + 2 - x0, top + 2 - y0),
        text,
        font=font,
        fill=(0, 0, 0) if luminance > 140 else (255, 255, 255),
    )


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((label * GOLDEN) % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
