"""The table of nvinfer's keys."""

from __future__ import annotations

import pytest

from trtforge.deepstream.format.keys import PROPERTY, version


@pytest.mark.parametrize(
    ("key", "deepstream", "applies"),
    [
        ("workspace-size", "6.3", True),
        ("workspace-size", "9", False),
        ("model-file", "6.0.1", True),
        ("model-file", "9.1", False),
        ("strongly-typed", "6.3", False),
        ("strongly-typed", "9.0", True),
        ("onnx-file", "5.1", True),
    ],
)
def test_versions_that_apply_a_key(key: str, deepstream: str, applies: bool) -> None:
    assert PROPERTY[key].applies_to(deepstream) is applies


def test_numbers_of_a_version() -> None:
    assert [version(text) for text in ("9", "9.0", "6.1.1")] == [(9, 0), (9, 0), (6, 1)]
