from __future__ import annotations

import pytest

from trtforge.backends._profiles import shapes_of
from trtforge.errors import ForgeError

BATCH, SIZE = (1, 4, 8), (320, 640)


def test_dynamic_dimensions_are_filled_fixed_ones_stay():
    inputs = {"images": (-1, 3, -1, -1), "grid": (1, 100, 2), "mask": (-1, 1, 80, -1)}
    assert shapes_of(inputs, {}, BATCH, SIZE) == {
        "images": ((1, 3, 320, 640), (4, 3, 320, 640), (8, 3, 320, 640)),
        "mask": ((1, 1, 80, 640), (4, 1, 80, 640), (8, 1, 80, 640)),
    }


def test_profile_of_the_user_overrides_batch_and_size():
    user_shapes = {"images": ((2, 3, 64, 64), (2, 3, 64, 64), (4, 3, 96, 96))}
    assert shapes_of({"images": (-1, 3, -1, -1)}, user_shapes, BATCH, SIZE) == user_shapes


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("image", (1, 3, 64, 64), "no input 'image'"),
        ("images", (1, 1, 64, 64), r"'images' is \?x3x\?x\? in the graph, not 1x1x64x64"),
        ("images", (1, 3, 64), "not 1x3x64"),
    ],
)
def test_profile_that_contradicts_the_graph(name, shape, text):
    with pytest.raises(ForgeError, match=text):
        shapes_of({"images": (-1, 3, -1, -1)}, {name: (shape, shape, shape)}, BATCH, SIZE)
