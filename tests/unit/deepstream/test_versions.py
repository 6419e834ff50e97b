from __future__ import annotations

import pytest

from trtforge.deepstream.versions import mismatch


@pytest.mark.parametrize(
    ("deepstream", "tensorrt", "why"),
    [
        ("9.1", "10.16.1.11", ""),
        ("9.1", "10.16", ""),
        ("7.1", "10.3.0", ""),
        ("9.1", "11.4.0.106", "DeepStream 9.1 loads engines of TensorRT 10.16, not of 11.4.0.106"),
        ("9.1", "10.1.0", "not of 10.1.0"),
        ("8.0", "10.16", "not known"),
        ("6.3.1", "8.5.2", ""),
    ],
)
def test_pairs(deepstream, tensorrt, why):
    found = mismatch(deepstream, tensorrt)
    assert why in found
    assert bool(why) == bool(found)
