"""Draw boxes into pictures, and put many pictures on a sheet."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from trtforge.evaluate.detections import Objects

# Steps of the golden ratio around the colour wheel give neighbouring classes different colours.
GOLDEN = 0.618034
MOST_ON_SHEET = 48
TILE = 320  # pixels of a picture's longer side on a sheet


def annotate(image: Image.Image, objects: Objects, names: Sequence[str]) -> Image.Image:
    """Return a copy of an RGB image with each object's box, class and score.

    Networks may put out boxes whose sides are negative, which are drawn between their corners, and
    boxes that are no numbers, which are not drawn.
    """
    picture = image.copy()
    draw = ImageDraw.Draw(picture)
    height = max(11, round(min(picture.size) / 40))
    font = ImageFont.load_default(height)
    line = max(2, height // 6)
    rows = list(
        zip(objects.boxes.tolist(), objects.scores.tolist(), objects.classes.tolist(), strict=True)
    )
    for box, score, label in reversed(rows):  # the best is drawn on top
        if not all(map(math.isfinite, box)):
            continue
        (left, right), (top, bottom) = sorted(box[0::2]), sorted(box[1::2])
        colour = _colour(label)
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        name = names[label] if label < len(names) else str(label)
        _caption(draw, f"{name} {score:.2f}", (left, top), font, colour, picture.width)
    return picture


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return up to 48 pictures side by side, each scaled down to 320 pixels."""
    shown = [picture.copy() for picture in pictures[:MOST_ON_SHEET]]
    for picture in shown:
        picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    canvas = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + 4)), (32, 32, 32))
    for index, picture in enumerate(shown):
        left = (index % columns) * (TILE + 4) + (TILE - picture.width) // 2 + 2
        top = (index // columns) * (TILE + 4) + (TILE - picture.height) // 2 + 2
        canvas.paste(picture, (left, top))
    return canvas


def _caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Write a caption above the box, or inside it without room above; never outside the image."""
    left, top = corner
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    wide, high = x1 - x0 + 4, y1 - y0 + 4
    left = max(0.0, min(left, width - wide))
    top = top - high if top >= high else top
    draw.rectangle((left, top, left + wide, top + high), fill=colour)
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    fill = (0, 0, 0) if luminance > 140 else (255, 255, 255)
    draw.text((left + 2 - x0, top + 2 - y0), text, font=font, fill=fill)


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((label * GOLDEN) % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
