"""Synthetic scenes of hardware parts with COCO labels: the same bytes for the same seed.

    python recipes/demo/scenes.py --split validation --count 300 -o DIR     # images/*.jpg and labels.json
    python recipes/demo/scenes.py --check                                   # renders all 300 again, compares digests

A label's box is tight around the *visible* part of the object (pixels it covers by at least half and that nothing hides,
inside the picture). An object of which less than 40 % can be seen is taken out of the scene altogether, so that nothing
hardly visible counts as a miss or as a false alarm.

Splits use different random seeds and different families of background textures (backgrounds.py). All drawing is integer
arithmetic in numpy and Pillow; the digests therefore depend on no CPU, only on Pillow's rasteriser and JPEG encoder.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFilter

from backgrounds import background, value_noise
from shapes import CLASSES, COS, SIN, Shape, between, distractor

HERE = Path(__file__).resolve().parent
NAMES = list(CLASSES)
SPLITS = {"train": 1, "calibration": 2, "tuning": 3, "validation": 4}
SIZES = ((640, 480), (640, 480), (640, 480), (480, 640), (480, 640), (480, 640), (640, 640), (640, 640), (1280, 720), (1280, 720))
VISIBLE_PERCENT = 40
SMALLEST_SIDE = 8  # pixels


class Scene(NamedTuple):
    jpeg: bytes
    width: int
    height: int
    boxes: np.ndarray  # (N, 4) int32: x, y, width, height in pixels
    classes: np.ndarray  # (N,) int32, index into NAMES
    areas: np.ndarray  # (N,) int32, visible pixels


class Sprite(NamedTuple):
    rgb: np.ndarray  # (h, w, 3) int32
    alpha: np.ndarray  # (h, w) int32, 0..255
    x: int
    y: int
    label: int  # -1: a distractor


def draw_shape(shape: Shape, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rasterises a shape turned, sheared and scaled to about `size` pixels: alpha and shade, two (h, w) int32.

    Drawn three times too large and averaged, which softens the edges. Shade 128 leaves a colour as it is.
    """
    over, d = 3, between(rng, 0, 359)
    aspect, shear, mirror = between(rng, 78, 100), between(rng, -18, 18), 1 - 2 * between(rng, 0, 1)
    half = size * over // 2
    points = []
    for _, polygon in shape:
        moved = []
        for px, py in polygon:
            px, py = px + py * shear // 100, mirror * py * aspect // 100
            moved.append(((px * COS[d] - py * SIN[d]) * half // (1000 * 16384), (px * SIN[d] + py * COS[d]) * half // (1000 * 16384)))
        points.append(moved)
    body = [p for (kind, _), moved in zip(shape, points, strict=True) if kind == "body" for p in moved]
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
    """Colours a sprite, (h, w, 3) int32: a base colour, a light side, a dark rim, speckle and sometimes a glare."""
    h, w = alpha.shape
    if between(rng, 0, 1):
        base = between(rng, 50, 210) + rng.integers(-22, 23, 3)  # metal
    else:
        base = rng.integers(20, 236, 3)  # paint
    d = between(rng, 0, 359)
    y, x = np.arange(h)[:, None] - h // 2, np.arange(w)[None] - w // 2
    side = (x * COS[d] + y * SIN[d]) * between(rng, 10, 60) // (8192 * max(h, w))
    tone = 128 + side + (rng.integers(0, 256, (h, w), dtype=np.uint8) >> between(rng, 3, 6)).astype(np.int32)
    rim = np.asarray(Image.fromarray(alpha.astype(np.uint8)).filter(ImageFilter.BoxBlur(1 + max(h, w) // 60)))
    tone = tone * (110 + rim.astype(np.int32) * 18 // 255) >> 7
    rgb = base.astype(np.int32) * (tone * shade >> 7)[..., None] >> 7
    if between(rng, 0, 2) == 0:  # a glare line, bright enough to clip
        u = (x * COS[d] + y * SIN[d] >> 14) - between(rng, -w // 4, w // 4)
        reach = max(2, min(h, w) // between(rng, 6, 16))
        rgb = rgb + (np.maximum(reach - np.abs(u), 0) * between(rng, 60, 220) // reach)[..., None]
    return np.clip(rgb, 0, 255)


def strip(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A cable or a ruler lying across the picture: hides things, never labelled."""
    image = Image.new("L", (width, height))
    draw, thick = ImageDraw.Draw(image), between(rng, 4, 26)
    ends = [(between(rng, 0, width - 1), between(rng, 0, height - 1)) for _ in range(2)]
    draw.line(ends, fill=255, width=thick)
    x0, y0, x1, y1 = image.getbbox()
    alpha = np.asarray(image)[y0:y1, x0:x1].astype(np.int32)
    return Sprite(paint(alpha, np.full_like(alpha, 128), rng), alpha, x0, y0, -1)


def make_sprites(rng: np.random.Generator, height: int, width: int) -> list[Sprite]:
    """Objects, look-alikes and strips from bottom to top; no object starts out mostly on another one."""
    scale = 160 if width == 1280 else 100
    sprites: list[Sprite] = []
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(between(rng, 4, 15)):
        pick = between(rng, 0, 99)
        label = between(rng, 0, len(NAMES) - 1) if pick < 74 else -1
        if pick >= 95:
            sprites.append(strip(rng, height, width))
            continue
        octave = (18, 32, 60, 110, 180)[min(4, between(rng, 0, 9) // 2)]  # small, medium and large in equal parts
        size = min(250, between(rng, octave, min(250, 2 * octave)) * scale // 100)
        shape = CLASSES[NAMES[label]](rng) if label >= 0 else distractor(rng)
        alpha, shade = draw_shape(shape, rng, size)
        h, w = alpha.shape
        for _ in range(8):
            x, y = between(rng, -w // 4, width - 3 * w // 4), between(rng, -h // 4, height - 3 * h // 4)
            overlap = max((max(0, min(x + w, r) - max(x, le)) * max(0, min(y + h, b) - max(y, t)) * 100
                           // min(w * h, (r - le) * (b - t)) for le, t, r, b in taken), default=0)
            if overlap <= 30:
                taken.append((x, y, x + w, y + h))
                sprites.append(Sprite(paint(alpha, shade, rng), alpha, x, y, label))
                break
    return sprites


def windows(sprite: Sprite, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture a sprite covers, and the part of the sprite that lies inside the picture."""
    h, w = sprite.alpha.shape
    y0, x0, y1, x1 = max(sprite.y, 0), max(sprite.x, 0), min(sprite.y + h, height), min(sprite.x + w, width)
    inside = slice(y0 - sprite.y, y1 - sprite.y), slice(x0 - sprite.x, x1 - sprite.x)
    return (slice(y0, y1), slice(x0, x1)), inside


def see(sprites: list[Sprite], height: int, width: int) -> tuple[list[Sprite], list[tuple[int, int, int, int, int, int]]]:
    """What can be seen, judged from the top sprite down: the sprites to draw and (x, y, w, h, class, area) labels."""
    hidden = np.zeros((height, width), bool)
    kept, labels = [], []
    for sprite in reversed(sprites):
        outer, inner = windows(sprite, height, width)
        solid = sprite.alpha >= 128
        seen = solid[inner] & ~hidden[outer]
        area = int(seen.sum())
        if sprite.label >= 0:
            if area * 100 < VISIBLE_PERCENT * int(solid.sum()):
                continue
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            w, h = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
            if min(w, h) < SMALLEST_SIDE:
                continue
            labels.append((outer[1].start + int(columns[0]), outer[0].start + int(rows[0]), w, h, sprite.label, area))
        hidden[outer] |= solid[inner]
        kept.append(sprite)
    return kept[::-1], labels[::-1]


def blend(canvas: np.ndarray, sprite: Sprite, shadow: tuple[int, int, int]) -> None:
    """Draws a sprite and its drop shadow (dx, dy, strength of 256) on `canvas` (H, W, 3) uint8, in place."""
    dx, dy, strength = shadow
    for moved, weight in ((sprite._replace(x=sprite.x + dx, y=sprite.y + dy), strength), (sprite, 0)):
        outer, inner = windows(moved, *canvas.shape[:2])
        if outer[0].start >= outer[0].stop or outer[1].start >= outer[1].stop:
            continue
        under, alpha = canvas[outer].astype(np.int32), sprite.alpha[inner][..., None]
        if weight:
            canvas[outer] = under * (256 * 255 - alpha * weight) // (256 * 255)
        else:
            canvas[outer] = (sprite.rgb[inner] * alpha + under * (255 - alpha) + 127) // 255


def light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, a colour cast, lamp spots that clip, blur and grain: (H, W, 3) uint8 in and out."""
    h, w = image.shape[:2]
    gain = (between(rng, 90, 300) * rng.integers(85, 116, 3) // 100).astype(np.int32)
    uneven = value_noise(rng, h, w, max(h, w) // between(rng, 1, 3)).astype(np.int32)
    field = 256 + (uneven - 128) * between(rng, 0, 200) // 128
    out = image.astype(np.int32) * field[..., None] // 256 * gain // 256
    if between(rng, 0, 3) == 0:
        r, cy, cx = between(rng, 40, 200), between(rng, 0, h), between(rng, 0, w)
        y, x = np.arange(h)[:, None] - cy, np.arange(w)[None] - cx
        out += (np.maximum(r * r - y * y - x * x, 0) * between(rng, 80, 255) // (r * r))[..., None].astype(np.int32)
    picture = Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))
    if between(rng, 0, 2) == 0:
        picture = picture.filter(ImageFilter.BoxBlur(between(rng, 1, 2)))
    grain = between(rng, 0, 22)
    # The sum of two dice is bell-like enough, and needs no logarithm.
    noise = rng.integers(0, 256, (2, h, w, 1 if between(rng, 0, 1) else 3), dtype=np.uint8).astype(np.int32).sum(0) - 255
    return np.clip(np.asarray(picture).astype(np.int32) + noise * grain // 256, 0, 255).astype(np.uint8)


def make_scene(split: str, index: int) -> Scene:
    """Scene number `index` of a split. The JPEG bytes are part of the result: reading them back is the image."""
    rng = np.random.Generator(np.random.PCG64([SPLITS[split], index]))
    width, height = SIZES[between(rng, 0, len(SIZES) - 1)]
    canvas = background(rng, split, height, width).copy()
    sprites, labels = see(make_sprites(rng, height, width), height, width)
    shadow = (between(rng, -8, 8), between(rng, -8, 8), between(rng, 0, 1) * between(rng, 40, 150))
    for sprite in sprites:
        blend(canvas, sprite, shadow)
    image = Image.fromarray(light(canvas, rng))
    if between(rng, 0, 3) == 0:  # artefacts of an earlier, harsher encoding
        image = Image.open(io.BytesIO(encode(image, between(rng, 25, 60)))).convert("RGB")
    jpeg = encode(image, between(rng, 72, 88))
    table = np.array(labels, np.int32).reshape(-1, 6)
    return Scene(jpeg, width, height, table[:, :4], table[:, 4], table[:, 5])


def encode(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def coco_labels(split: str, scenes: list[Scene]) -> dict:
    """COCO detection labels; category ids start at 0 and follow labels.txt."""
    images, annotations = [], []
    for i, scene in enumerate(scenes):
        images.append({"id": i, "file_name": f"{split}-{i:05d}.jpg", "width": scene.width, "height": scene.height})
        for box, label, area in zip(scene.boxes.tolist(), scene.classes.tolist(), scene.areas.tolist(), strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": label, "bbox": box, "area": area, "iscrowd": 0})
    return {"images": images, "annotations": annotations, "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)]}


def labels_text(split: str, scenes: list[Scene]) -> str:
    return json.dumps(coco_labels(split, scenes), separators=(",", ":")) + "\n"


def render(split: str, count: int, workers: int = 1) -> list[Scene]:
    if workers == 1:
        return [make_scene(split, i) for i in range(count)]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(partial(make_scene, split), range(count), chunksize=8))


def digests(split: str, scenes: list[Scene]) -> str:
    """One `sha256  name` line for each image and one for the labels, as `sha256sum` prints them."""
    lines = [f"{hashlib.sha256(s.jpeg).hexdigest()}  {split}-{i:05d}.jpg" for i, s in enumerate(scenes)]
    lines.append(f"{hashlib.sha256(labels_text(split, scenes).encode()).hexdigest()}  labels.json")
    return "\n".join(lines) + "\n"


def write(split: str, scenes: list[Scene], folder: Path, images: str) -> None:
    """Writes `folder/images/*.jpg` (or next to the labels if `images` is ".") and `folder/labels.json`."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    for i, scene in enumerate(scenes):
        (folder / images / f"{split}-{i:05d}.jpg").write_bytes(scene.jpeg)
    (folder / "labels.json").write_text(labels_text(split, scenes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=SPLITS, default="validation")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path, help="folder to write")
    parser.add_argument("--flat", action="store_true", help="images next to labels.json instead of in images/")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare the 300 validation scenes with digests.txt")
    parser.add_argument("--digests", type=Path, help="write the digest list here")
    args = parser.parse_args()
    if args.check:
        expected = (HERE / "digests.txt").read_text().splitlines()
        found = digests("validation", render("validation", len(expected) - 1, args.workers)).splitlines()
        wrong = [line.split()[1] for line, other in zip(expected, found, strict=True) if line != other]
        print(f"{len(expected) - len(wrong)} of {len(expected)} digests agree (Pillow {PIL.__version__}, numpy {np.__version__})", *wrong[:5])
        return 1 if wrong else 0
    scenes = render(args.split, args.count, args.workers)
    if args.output:
        write(args.split, scenes, args.output, "." if args.flat else "images")
    if args.digests:
        args.digests.write_text(digests(args.split, scenes))
    total = sum(len(s.jpeg) for s in scenes)
    print(f"{len(scenes)} scenes, {sum(len(s.boxes) for s in scenes)} objects, {total / len(scenes) / 1000:.1f} kB an image")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
