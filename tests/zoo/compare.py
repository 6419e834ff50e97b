"""Compare objects, masks, points, classes and maps with the library's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.zoo.reference import Arrays, Reference

Array = NDArray[np.float64]
NEAR = 0.006  # scores that are nearer to the threshold may fall on either side of it
SCORE = 0.006


@dataclass(frozen=True)
class Objects:
    """Objects in pixels: boxes (N, 4) as x1 y1 x2 y2, or (N, 8) as four corners."""

    boxes: Array
    scores: Array
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    ok: bool
    note: str = ""


def library_objects(reference: Reference) -> Objects:
    """Return the library's objects, within the image."""
    turned = reference.task == "obb"
    boxes = np.asarray(reference.boxes, float).reshape(-1, 5 if turned else 4)
    boxes = corners(boxes) if turned else clipped(boxes, reference.size)
    return Objects(boxes, np.asarray(reference.scores), np.asarray(reference.classes, np.int64))


def clipped(boxes: Array, size: tuple[int, int]) -> Array:
    """Return boxes within an image of (height, width)."""
    height, width = size
    return np.clip(boxes, 0, [width, height, width, height])


def corners(boxes: Array) -> Array:
    """Return the corners (N, 8) of boxes x, y, w, h, angle; the order says nothing."""
    x, y, w, h, angle = boxes.T
    cos, sin = np.cos(angle), np.sin(angle)
    along = np.stack([cos * w / 2, sin * w / 2], -1)
    across = np.stack([-sin * h / 2, cos * h / 2], -1)
    centre = np.stack([x, y], -1)
    points = [centre + along + across, centre - along + across, centre - along - across, centre + along - across]  # fmt: skip
    return np.concatenate(points, -1)


def distance(one: Array, others: Array) -> Array:
    """Return how far a box is from each of others, in pixels; corners may begin anywhere and turn either way."""
    if one.size == 4:
        return np.asarray(np.abs(others - one).max(-1))
    ring = one.reshape(4, 2)
    turns = [np.roll(each, turn, 0) for each in (ring, ring[::-1]) for turn in range(4)]
    return np.asarray(np.min([np.abs(others - turn.reshape(8)).max(-1) for turn in turns], 0))


def pairs(theirs: Objects, ours: Objects, tolerance: float, score: float) -> list[tuple[int, int]]:
    """Return (theirs, ours) of each object that both have."""
    free = np.ones(len(ours), bool)
    matched = []
    for index in np.argsort(-theirs.scores, kind="stable"):
        fits = (
            free
            & (ours.classes == theirs.classes[index])
            & (np.abs(ours.scores - theirs.scores[index]) <= score)
        )
        if not fits.any():
            continue
        apart = np.where(fits, distance(theirs.boxes[index], ours.boxes), np.inf)
        nearest = int(apart.argmin())
        if apart[nearest] <= tolerance:
            free[nearest] = False
            matched.append((int(index), nearest))
    return matched


def same_objects(
    reference: Reference, ours: Objects, tolerance: float
) -> tuple[Finding, list[tuple[int, int]]]:
    """Tell whether our objects are the library's, but for scores at the threshold."""
    theirs = library_objects(reference)
    half = reference.tolerance > 1
    matched = pairs(theirs, ours, tolerance, 0.02 if half else SCORE)
    near = reference.score + (0.02 if half else NEAR)
    lost = set(range(len(theirs))) - {one for one, _ in matched}
    extra = set(range(len(ours))) - {other for _, other in matched}
    lost = {index for index in lost if theirs.scores[index] > near}
    extra = {index for index in extra if ours.scores[index] > near and has_area(ours.boxes[index])}
    if not len(theirs):
        return Finding(False, "the library finds nothing: nothing is compared"), []
    # Among half floats scores tie, and the runtime's order decides which of two boxes stays.
    borne = max(1, len(theirs) // 20) if half else 0
    if max(len(lost), len(extra)) <= borne:
        return Finding(True, f"{len(matched)} of {len(theirs)}"), matched
    note = (
        f"{len(matched)} of {len(theirs)} objects are the same, {len(lost)} lost, {len(extra)} more"
    )
    if lost:
        index = min(lost)
        note += f"; lost: {described(theirs, index)}"
    if extra:
        index = min(extra)
        note += f"; more: {described(ours, index)}"
    return Finding(False, note), matched


def has_area(box: Array) -> bool:
    """Tell whether a box has positive sides; drawn weights give others, which libraries leave out."""
    return box.size != 4 or bool((box[2:] > box[:2]).all())


def described(objects: Objects, index: int) -> str:
    box = ", ".join(f"{value:.1f}" for value in objects.boxes[index])
    return f"class {objects.classes[index]} {objects.scores[index]:.3f} ({box})"


def mask_of(box: Array, coefficients: Array, prototypes: Array, size: tuple[int, int]) -> NDArray[np.bool_]:  # fmt: skip
    """Return the mask (H, W) of an object, within its box."""
    from PIL import Image

    height, width = size
    logits = np.tensordot(coefficients, prototypes, 1).astype(np.float32)
    full = Image.fromarray(logits, mode="F").resize((width, height), Image.Resampling.BILINEAR)
    x1, y1, x2, y2 = box.round().astype(int)
    mask = np.zeros((height, width), bool)
    mask[max(y1, 0) : y2, max(x1, 0) : x2] = (np.asarray(full) > 0)[
        max(y1, 0) : y2, max(x1, 0) : x2
    ]
    return mask


def same_masks(arrays: Arrays, coefficients: Array, prototypes: Array, ours: Objects, matched: Sequence[tuple[int, int]], size: tuple[int, int]) -> Finding:  # fmt: skip
    """Tell whether masks overlap with the library's: the smallest and the mean IoU over objects of some size."""
    masks = np.unpackbits(arrays["masks"].astype(np.uint8), axis=-1, count=size[1]).astype(bool)
    overlaps = []
    for theirs, mine in matched:
        mask = mask_of(ours.boxes[mine], coefficients[mine], prototypes, size)
        both, either = (mask & masks[theirs]).sum(), (mask | masks[theirs]).sum()
        if either > 400:  # a row of pixels at the border of a small box weighs too much
            overlaps.append(both / either)
    if not overlaps:
        return Finding(False, "no mask is large enough to be compared")
    lowest, mean = min(overlaps), float(np.mean(overlaps))
    note = f"{len(overlaps)} masks, IoU {mean:.3f} on average, {lowest:.3f} at least"
    return Finding(bool(mean > 0.95 and lowest > 0.75), note)


def same_points(arrays: Arrays, points: Array, matched: Sequence[tuple[int, int]], size: tuple[int, int], tolerance: float) -> Finding:  # fmt: skip
    """Tell whether key points are where the library puts them."""
    theirs = arrays["points"]
    height, width = size
    worst = 0.0
    for index, mine in matched:
        found = points[mine].reshape(-1, theirs.shape[-1])
        place = np.clip(found[:, :2], 0, [width, height])
        worst = max(worst, float(np.abs(place - theirs[index, :, :2]).max()))
        if theirs.shape[-1] == 3 and np.abs(found[:, 2] - theirs[index, :, 2]).max() > 0.02:
            return Finding(False, "visibilities differ")
    return Finding(worst <= tolerance, f"at most {worst:.2f} pixels apart")


def same_classes(reference: Reference, output: Array) -> Finding:
    """Tell whether the five best classes and their probabilities are the library's."""
    scores = output.reshape(output.shape[0], -1)[0]
    if scores.min() < 0 or abs(scores.sum() - 1) > 1e-2:
        exps = np.exp(scores - scores.max())
        scores = exps / exps.sum()
    for index, probability in reference.top:
        if abs(scores[index] - probability) > 0.01:
            return Finding(
                False, f"class {index} has {scores[index]:.3f}, the library says {probability:.3f}"
            )
    return Finding(int(scores.argmax()) == reference.top[0][0], f"best {int(scores.argmax())}")


def same_map(theirs: NDArray[np.generic], output: Array) -> Finding:
    """Tell whether the classes of pixels are the library's; a smaller map is compared at its own places."""
    ours = output[0].argmax(0) if output.ndim == 4 else output.squeeze()
    rows = (np.arange(ours.shape[0]) + 0.5) * theirs.shape[0] / ours.shape[0]
    columns = (np.arange(ours.shape[1]) + 0.5) * theirs.shape[1] / ours.shape[1]
    sampled = theirs[rows.astype(int)][:, columns.astype(int)]
    share = float((sampled == ours).mean())
    limit = 0.99 if theirs.shape == ours.shape else 0.9
    return Finding(share > limit, f"{share:.1%} of the pixels")
