"""Synthetic scenes of hardware parts with COCO labels: the same bytes for the same seed.

    python recipes/demo/scenes.py --split validation --count 300 -o DIR   # *.jpg and labels.json
    python recipes/demo/scenes.py --check            # render all 300 again, and compare digests

A label's box is tight around the *visible* part of the object (pixels that it covers by at least
half and that nothing hides, inside the picture). An object of which less than 40 % can be seen is
taken out of the scene altogether, so that nothing hardly visible counts as a miss or as a false
alarm.

Splits use different random seeds and different families of background textures (backgrounds.py).
All drawing is integer arithmetic in numpy and Pillow; the digests therefore depend on no CPU, only
on Pillow's rasteriser and JPEG encoder.
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
from backgrounds import background
from drawing import Sprite, blend, draw_shape, light, paint, strip, windows
from PIL import Image
from shapes import CLASSES, between, distractor

HERE = Path(__file__).resolve().parent
NAMES = list(CLASSES)
SPLITS = {"train": 1, "calibration": 2, "tuning": 3, "validation": 4}
SIZES = (
    (640, 480),
    (640, 480),
    (640, 480),
    (480, 640),
    (480, 640),
    (480, 640),
    (640, 640),
    (640, 640),
    (1280, 720),
    (1280, 720),
)
VISIBLE_PERCENT = 40
SMALLEST_SIDE = 8  # pixels


class Scene(NamedTuple):
    jpeg: bytes
    width: int
    height: int
    boxes: np.ndarray  # (N, 4) int32: x, y, width, height in pixels
    classes: np.ndarray  # (N,) int32, index into NAMES
    areas: np.ndarray  # (N,) int32, visible pixels


def make_sprites(rng: np.random.Generator, height: int, width: int) -> list[Sprite]:
    """Objects, look-alikes and strips from bottom to top; no object starts out mostly on another
    one.
    """
    scale = 160 if width == 1280 else 100
    sprites: list[Sprite] = []
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(between(rng, 4, 15)):
        pick = between(rng, 0, 99)
        label = between(rng, 0, len(NAMES) - 1) if pick < 74 else -1
        if pick >= 95:
            sprites.append(strip(rng, height, width))
            continue
        # Small, medium and large objects are equally frequent.
        octave = (18, 32, 60, 110, 180)[min(4, between(rng, 0, 9) // 2)]
        size = min(250, between(rng, octave, min(250, 2 * octave)) * scale // 100)
        shape = CLASSES[NAMES[label]](rng) if label >= 0 else distractor(rng)
        alpha, shade = draw_shape(shape, rng, size)
        h, w = alpha.shape
        for _ in range(8):
            x, y = (
                between(rng, -w // 4, width - 3 * w // 4),
                between(rng, -h // 4, height - 3 * h // 4),
            )
            overlap = max(
                (
                    max(0, min(x + w, r) - max(x, le))
                    * max(0, min(y + h, b) - max(y, t))
                    * 100
                    // min(w * h, (r - le) * (b - t))
                    for le, t, r, b in taken
                ),
                default=0,
            )
            if overlap <= 30:
                taken.append((x, y, x + w, y + h))
                sprites.append(Sprite(paint(alpha, shade, rng), alpha, x, y, label))
                break
    return sprites


def see(
    sprites: list[Sprite], height: int, width: int
) -> tuple[list[Sprite], list[tuple[int, int, int, int, int, int]]]:
    """What can be seen, judged from the top sprite down: the sprites to draw and (x, y, w, h,
    class, area) labels.
    """
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
            labels.append(
                (
                    outer[1].start + int(columns[0]),
                    outer[0].start + int(rows[0]),
                    w,
                    h,
                    sprite.label,
                    area,
                )
            )
        hidden[outer] |= solid[inner]
        kept.append(sprite)
    return kept[::-1], labels[::-1]


def make_scene(split: str, index: int) -> Scene:
    """Scene number `index` of a split. The JPEG bytes are part of the result: reading them back is
    the image.
    """
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
        images.append(
            {
                "id": i,
                "file_name": f"{split}-{i:05d}.jpg",
                "width": scene.width,
                "height": scene.height,
            }
        )
        for box, label, area in zip(
            scene.boxes.tolist(), scene.classes.tolist(), scene.areas.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                }
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)],
    }


def labels_text(split: str, scenes: list[Scene]) -> str:
    return json.dumps(coco_labels(split, scenes), separators=(",", ":")) + "\n"


def render(split: str, count: int, workers: int = 1) -> list[Scene]:
    if workers == 1:
        return [make_scene(split, i) for i in range(count)]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(partial(make_scene, split), range(count), chunksize=8))


def digests(split: str, scenes: list[Scene]) -> str:
    """One `sha256  name` line for each image and one for the labels, as `sha256sum` prints them."""
    lines = [
        f"{hashlib.sha256(s.jpeg).hexdigest()}  {split}-{i:05d}.jpg" for i, s in enumerate(scenes)
    ]
    lines.append(f"{hashlib.sha256(labels_text(split, scenes).encode()).hexdigest()}  labels.json")
    return "\n".join(lines) + "\n"


def write(split: str, scenes: list[Scene], folder: Path, labels: bool = True) -> None:
    """Writes the images and, next to them, `labels.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, scene in enumerate(scenes):
        (folder / f"{split}-{i:05d}.jpg").write_bytes(scene.jpeg)
    if labels:
        (folder / "labels.json").write_text(labels_text(split, scenes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=SPLITS, default="validation")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path, help="folder to write")
    parser.add_argument("--unlabelled", action="store_true", help="write no labels.json")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="compare the 300 validation scenes with digests.txt"
    )
    parser.add_argument("--digests", type=Path, help="write the digest list here")
    args = parser.parse_args()
    if args.check:
        expected = (HERE / "digests.txt").read_text().splitlines()
        found = digests(
            "validation", render("validation", len(expected) - 1, args.workers)
        ).splitlines()
        wrong = [
            line.split()[1] for line, other in zip(expected, found, strict=True) if line != other
        ]
        agreed, versions = (
            len(expected) - len(wrong),
            f"Pillow {PIL.__version__}, numpy {np.__version__}",
        )
        print(f"{agreed} of {len(expected)} digests agree ({versions})", *wrong[:5])
        return 1 if wrong else 0
    scenes = render(args.split, args.count, args.workers)
    if args.output:
        write(args.split, scenes, args.output, not args.unlabelled)
    if args.digests:
        args.digests.write_text(digests(args.split, scenes))
    size = sum(len(s.jpeg) for s in scenes) / len(scenes) / 1000
    print(
        f"{len(scenes)} scenes, {sum(len(s.boxes) for s in scenes)} objects, {size:.1f} kB an image"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
