"""Draw boxes into pictures, and arrange many pictures on one sheet."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from trtforge.evaluate.detections import Objects

# The golden ratio as a part of the colour wheel: classes with neighbouring numbers get different
# colours.
HUE_STEP = 0.618034
MAX_ON_SHEET = 48
TILE = 320  # pixels of a picture's longer side on a sheet
GAP = 4  # pixels between two pictures on a sheet
PADDING = 2  # pixels between a caption's text and the edge of its background
# Black text is read more easily than white text on a background above this luminance, 0..255.
BLACK_TEXT_ABOVE = 140


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
    detections = list(
        zip(objects.boxes.tolist(), objects.scores.tolist(), objects.classes.tolist(), strict=True)
    )
    # The detections are sorted by score, and the best one is drawn last, on top of the others.
    for box, score, label in reversed(detections):
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
    shown = [picture.copy() for picture in pictures[:MAX_ON_SHEET]]
    for picture in shown:
        picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    cell = TILE + GAP
    canvas = Image.new("RGB", (columns * cell, rows * cell), (32, 32, 32))
    for index, picture in enumerate(shown):
        row, column = divmod(index, columns)
        left = column * cell + (TILE - picture.width) // 2 + GAP // 2
        top = row * cell + (TILE - picture.height) // 2 + GAP // 2
        canvas.paste(picture, (left, top))
    return canvas


def _caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    image_width: int,
) -> None:
    """Write a caption above a box, or inside it if there is no room above, all within the image.

    Args:
        corner: left and top of the box.
    """
    left, top = corner
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    caption_width, caption_height = x1 - x0 + 2 * PADDING, y1 - y0 + 2 * PADDING
    left = max(0.0, min(left, image_width - caption_width))
    top = top - caption_height if top >= caption_height else top
    draw.rectangle((left, top, left + caption_width, top + caption_height), fill=colour)
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    fill = (0, 0, 0) if luminance > BLACK_TEXT_ABOVE else (255, 255, 255)
    draw.text((left + PADDING - x0, top + PADDING - y0), text, font=font, fill=fill)


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((label * HUE_STEP) % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
