"""What the recipes say of their families, against figures that are published."""

from __future__ import annotations

import numpy as np
import pytest

from trtforge.graph.detection import Detection, Geometry
from trtforge.graph.detection.priors import priors
from trtforge.recipe import Recipe, find, load

PRIORS = {"ssd": 8732, "retinaface": 16800, "retinanet": 76725, "efficientdet": 49104}
SIZES = {"ssd": 300, "retinaface": 640, "retinanet": 640, "efficientdet": 512}


def recipe(name: str) -> Recipe:
    return load(find(name))


def prior_boxes(name: str) -> tuple[np.ndarray, np.ndarray]:
    side = SIZES[name]
    return priors(
        Detection(
            "priors", (), (), Geometry(), None, 1, (side, side), "", decode=recipe(name).decode
        )
    )


@pytest.mark.parametrize("name", PRIORS)
def test_as_many_priors_as_published(name: str) -> None:
    place, extent = prior_boxes(name)
    assert len(place) == len(extent) == PRIORS[name]
    assert place.min() > 0
    # A stride may not divide the side, so the last cell of a level can reach over the edge.
    assert place.max() <= SIZES[name] * 1.02
    assert recipe(name).preprocess.size == (SIZES[name],) * 2


def test_priors_of_ssd300() -> None:
    """First cell: s, sqrt(s s'), and the ratios 2 and 1/2 of s = 21, s' = 45; then the next cell of
    the row.
    """
    place, extent = prior_boxes("ssd")
    np.testing.assert_allclose(place[:5], [[4, 4]] * 4 + [[12, 4]])
    s = 21.0
    want = [[s, s], [(s * 45) ** 0.5] * 2, [s * 2**0.5, s / 2**0.5], [s / 2**0.5, s * 2**0.5]]
    np.testing.assert_allclose(extent[:4], want, rtol=1e-5)
    np.testing.assert_allclose(place[-1], [150, 150])


def test_priors_of_retinanet_keep_their_area() -> None:
    _, extent = prior_boxes("retinanet")
    np.testing.assert_allclose(
        extent[:9].prod(1), [(32 * 2 ** (i / 3)) ** 2 for i in range(3)] * 3, rtol=1e-4
    )
    np.testing.assert_allclose(
        extent[:9, 1] / extent[:9, 0], [0.5] * 3 + [1] * 3 + [2] * 3, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "pixel", "value"),
    [  # the network's first channel for a pixel of that value in every channel
        ("yolov7", 255, 1.0),
        ("yolox", 114, 114.0),
        ("rtdetr", 51, 0.2),
        ("retinaface", 104, 0.0),
        ("ssd", 123, 0.0),
        ("resnet", 255, (1 - 0.485) / 0.229),
        ("efficientdet", 0, -0.485 / 0.229),
    ],
)
def test_normalisation(name: str, pixel: int, value: float) -> None:
    from trtforge.calibration.images import normalise

    planes = normalise(np.full((2, 2, 3), pixel, np.uint8), recipe(name).preprocess)
    assert planes[0, 0, 0] == pytest.approx(value, abs=1e-5)


def test_fit_and_colour() -> None:
    told = {name: recipe(name).preprocess for name in ("yolox", "rtdetr", "retinaface")}
    assert (told["yolox"].color, told["yolox"].letterbox, told["yolox"].padding) == (
        "bgr",
        "top-left",
        114,
    )
    assert (told["rtdetr"].color, told["rtdetr"].letterbox) == ("rgb", "none")
    assert told["retinaface"].color == "bgr"
