"""A pool of rendered scenes in GPU memory, and batches drawn from it with augmentation on the GPU."""

from __future__ import annotations

import io
import mmap
import multiprocessing

import numpy as np
import torch
import torch.nn.functional as F
from evaluate import letterbox
from model import SIZE
from PIL import Image
from scenes import make_scene
from torch import Tensor

SLOTS = 16  # labels a scene can have
PIXELS = 3 * SIZE * SIZE


def render_pool(first: int, count: int, workers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Training scenes from number `first` on, letterboxed.

    Images (K, 3, 640, 640) uint8, boxes (K, SLOTS, 4) x0, y0, x1, y1 in pixels, classes (K, SLOTS),
    -1 for none.

    Workers are forked and write into one shared mapping, so no picture passes through a pipe.
    """
    shared = mmap.mmap(-1, count * PIXELS)
    images = np.frombuffer(shared, np.uint8).reshape(count, 3, SIZE, SIZE)

    def work(part: int, results: multiprocessing.Queue) -> None:
        labels = []
        for i in range(part, count, workers):
            scene = make_scene("train", first + i)
            canvas, scale, left, top = letterbox(Image.open(io.BytesIO(scene.jpeg)))
            images[i] = canvas.transpose(2, 0, 1)
            x, y, w, h = scene.boxes.T * scale
            labels.append(
                (i, np.stack((x + left, y + top, x + w + left, y + h + top), 1), scene.classes)
            )
        results.put(labels)

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    jobs = [context.Process(target=work, args=(part, results)) for part in range(workers)]
    for job in jobs:
        job.start()
    boxes, classes = torch.zeros(count, SLOTS, 4), torch.full((count, SLOTS), -1, dtype=torch.long)
    for _ in jobs:
        for i, b, c in results.get():
            boxes[i, : len(b)], classes[i, : len(c)] = (
                torch.from_numpy(b[:SLOTS]).float(),
                torch.from_numpy(c[:SLOTS]).long(),
            )
    for job in jobs:
        job.join()
    return torch.from_numpy(images), boxes, classes


def sample(
    images: Tensor, boxes: Tensor, scale: Tensor, flip: Tensor, origin: Tensor
) -> tuple[Tensor, Tensor]:
    """Crops a 640-pixel window: source pixel = origin + output pixel / scale, mirrored where `flip`
    (B, 2) is -1.

    images (B, 3, S, S) float, boxes (B, M, 4), scale (B, 1), origin (B, 2) x, y in source pixels.
    Outside is black.
    """
    size = images.shape[2]
    span = SIZE / scale / size  # the window's side as a part of the source
    middle = 2 * origin / size + span - 1
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = (flip[:, 0:1] * span)[:, 0], (flip[:, 1:2] * span)[:, 0]
    theta[:, :, 2] = middle
    grid = F.affine_grid(theta, [len(images), 3, SIZE, SIZE], align_corners=False)
    out = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = (boxes - origin.repeat(1, 2)[:, None]) * scale[:, None]
    mirrored = torch.where(
        flip[:, None].repeat(1, 1, 2) < 0, SIZE - moved[..., [2, 3, 0, 1]], moved
    )
    return out, torch.where((flip < 0).any(1)[:, None, None], swap(mirrored), moved)


def swap(boxes: Tensor) -> Tensor:
    """Puts the smaller coordinate first on each axis."""
    return torch.cat(
        (
            torch.minimum(boxes[..., :2], boxes[..., 2:]),
            torch.maximum(boxes[..., :2], boxes[..., 2:]),
        ),
        -1,
    )


def clip(boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts boxes at the picture's edge and empties the slots of which little is left."""
    cut = boxes.clamp(0, SIZE)
    before, after = ((b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) for b in (boxes, cut))
    side = (cut[..., 2:] - cut[..., :2]).amin(-1)
    return cut, torch.where((after > 0.4 * before) & (side > 3), classes, -1)


def uniform(low: float, high: float, *shape: int, device: torch.device) -> Tensor:
    return torch.rand(*shape, device=device) * (high - low) + low


def draw_batch(
    pool: tuple[Tensor, Tensor, Tensor], size: int, mosaic: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: images (B, 3, 640, 640) float 0..1, boxes (B, 4 * SLOTS, 4), classes (B, 4 * SLOTS),
    -1 for none.

    A share `mosaic` of it shows four scenes side by side (Bochkovskiy et al. 2020), scaled; half of
    the rest one scene scaled and shifted, the other half one scene as it is. All may be mirrored
    and change in colour and brightness; both are factors, so black bars stay black.
    """
    images, boxes, classes = pool
    device = images.device
    four = round(size * mosaic)
    one = size - four
    parts = []
    if four:
        pick = torch.randint(len(images), (four, 4), device=device)
        canvas = (
            images[pick]
            .view(four, 2, 2, 3, SIZE, SIZE)
            .permute(0, 3, 1, 4, 2, 5)
            .reshape(four, 3, 2 * SIZE, 2 * SIZE)
        )
        corner = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=device).repeat(1, 2) * SIZE
        scale = uniform(0.45, 1.1, four, 1, device=device)
        origin = uniform(0, 1, four, 2, device=device) * (2 * SIZE - SIZE / scale)
        flip = torch.randint(0, 2, (four, 2), device=device) * 2.0 - 1
        spread = (boxes[pick] + corner[None, :, None]).view(four, 4 * SLOTS, 4)
        parts.append(
            (
                *sample(canvas.float(), spread, scale, flip, origin),
                classes[pick].view(four, 4 * SLOTS),
            )
        )
    if one:
        pick = torch.randint(len(images), (one,), device=device)
        moves = (torch.arange(one, device=device) % 2)[:, None]
        scale = 1 + moves * uniform(-0.3, 0.4, one, 1, device=device)
        origin = moves * uniform(0, 1, one, 2, device=device) * (SIZE - SIZE / scale)
        flip = torch.randint(0, 2, (one, 2), device=device) * 2.0 - 1
        out, moved = sample(images[pick].float(), boxes[pick], scale, flip, origin)
        parts.append(
            (
                out,
                F.pad(moved, (0, 0, 0, 3 * SLOTS)),
                F.pad(classes[pick], (0, 3 * SLOTS), value=-1),
            )
        )
    batch, moved, labels = (torch.cat(p) for p in zip(*parts, strict=True))
    gain = uniform(0.6, 1.5, size, 1, 1, 1, device=device) * uniform(
        0.85, 1.15, size, 3, 1, 1, device=device
    )
    batch = (batch * (gain / 255)).clamp(0, 1)
    return batch, *clip(moved, labels)
