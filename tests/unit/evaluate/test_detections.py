"""Boxes on their way back to the image, and what two engines agree on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trtforge.calibration.images import letterbox
from trtforge.evaluate.detections import Objects, agreement, iou, to_image
from trtforge.evaluate.draw import annotate
from trtforge.recipe import Preprocess

SIZE = (640, 640)


def edges(profile: np.ndarray) -> tuple[float, float]:
    """Where a bright bar begins and ends, in fractions of pixels, from brightness 0..1 along a
    line.
    """
    lit = np.flatnonzero(profile > 0.02)
    first, last = int(lit[0]), int(lit[-1])
    return first + 1 - float(profile[first]), last + float(profile[last])


@pytest.mark.parametrize("mode", ["symmetric", "top-left", "none"])
@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (480, 640), (1280, 720), (1000, 333), (333, 1000), (501, 377)]
)
def test_what_the_network_sees_comes_back_to_where_it_was(
    mode: str, width: int, height: int
) -> None:
    """A white box is drawn, found again in the network's pixels, and its corners mapped back:
    within a pixel.
    """
    left, top, right, bottom = (
        round(side * share)
        for side, share in ((width, 0.21), (height, 0.33), (width, 0.77), (height, 0.81))
    )
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    spec = Preprocess(letterbox=mode)
    seen = letterbox(Image.fromarray(pixels), spec, SIZE)[..., 0].astype(np.float64) / 255
    (x0, x1), (y0, y1) = edges(seen.max(0)), edges(seen.max(1))
    found = to_image(np.array([[x0, y0, x1, y1]]), height, width, SIZE, spec)[0]
    np.testing.assert_allclose(found, [left, top, right, bottom], atol=1.0)


@pytest.mark.parametrize("mode", ["symmetric", "top-left"])
def test_boxes_follow_the_float64_reference(mode: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = (int(side) for side in rng.integers(50, 2000, 2))
        ratio = min(640 / width, 640 / height)
        inner = np.array([int(width * ratio + 1e-9), int(height * ratio + 1e-9)])
        offset = (np.array([640, 640]) - inner) // 2 if mode == "symmetric" else np.zeros(2)
        box = np.sort(rng.random((2, 2)), axis=0) * [width, height]
        inside = box * (inner / [width, height]) + offset
        found = to_image(inside.reshape(1, 4), height, width, SIZE, Preprocess(letterbox=mode))[0]
        np.testing.assert_allclose(found, box.ravel(), atol=1.0)


def test_boxes_never_leave_the_image() -> None:
    found = to_image(np.array([[-50.0, -50, 900, 900]]), 480, 640, SIZE, Preprocess())[0]
    assert found.tolist() == [0, 0, 640, 480]


def test_iou() -> None:
    one, other = (
        np.array([[0.0, 0, 2, 2]]),
        np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 1]]),
    )
    np.testing.assert_allclose(iou(one, other), [[1, 1 / 3, 0, 0]])


def objects(*rows: tuple[float, int, list[float]]) -> Objects:
    return Objects(
        np.array([box for _, _, box in rows], float).reshape(-1, 4),
        np.array([s for s, _, _ in rows]),
        np.array([label for _, label, _ in rows], np.int64),
    )


def test_agreement_pairs_each_object_once_and_only_within_its_class() -> None:
    box, far = [0, 0, 10, 10], [50, 50, 60, 60]
    one = objects((0.9, 0, box), (0.8, 1, far))
    assert agreement(one, one) == (2, 2)
    assert agreement(one, objects((0.9, 1, box), (0.8, 1, far))) == (1, 3)
    assert agreement(objects((0.9, 0, box), (0.8, 0, box)), objects((0.9, 0, box))) == (1, 2)
    assert agreement(one, objects()) == (0, 2)
    assert agreement(objects(), objects()) == (0, 0)


def test_boxes_with_negative_sides_are_drawn_and_no_numbers_are_not() -> None:
    boxes = np.array([[10, 40, 40, 10], [40, 10, 10, 40], [np.nan, 5, 9, 9]], float)
    black = Image.new("RGB", (64, 64))
    for box in boxes:
        one = Objects(box[None], np.array([0.9]), np.array([1]))
        drawn = np.asarray(annotate(black, one, ["tool", "nut"]))
        assert bool(drawn[40, 25].any()) == bool(np.isfinite(box).all())
