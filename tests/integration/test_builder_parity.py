"""TensorRT-RTX's builder takes our graph wherever it takes the original one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builder_parity import compare
from tests.extras import needs
from tests.models import Network, network
from tests.random_graphs import LARGEST_INT64, random_graph

needs("rtx")


def features(s: Network) -> str:
    """`(B, 8, 32, 32)`"""
    return s.relu("image", (3, 8), 3, 2)


def sliced(*bounds: list[int] | None) -> Callable[[Network, str], str]:
    """Slice by int64 bounds; None is an input left out."""

    def build(s: Network, x: str) -> str:
        return s.op("Slice", x, *["" if each is None else s.ints(*each) for each in bounds])

    return build


def resized(opset_18: bool, **inputs: Any) -> Callable[[Network, str], str]:
    def build(s: Network, x: str) -> str:
        region = s.const([]) if "region" in inputs else ""
        axes = {"axes": [2, 3]} if opset_18 else {}
        if "scales" in inputs:
            return s.op("Resize", x, region, s.const(inputs["scales"]), mode="nearest", **axes)
        return s.op("Resize", x, region, "", s.ints(*inputs["sizes"]), mode="linear", **axes)

    return build


def largest(s: Network, x: str, **attributes: int) -> str:
    name = s.op("TopK", x, s.ints(3), **attributes)
    s.nodes[-1].output.append(f"{name}.index")
    return name


# Operators with optional inputs, with and without each of them: ONNX's opset 18.
OPTIONAL: dict[str, Callable[[Network, str], str]] = {
    "Slice, axes": sliced([1], [5], [1]),
    "Slice, two axes": sliced([1, 2], [5, 9], [1, 3]),
    "Slice, axes from the end": sliced([1], [5], [-1]),
    "Slice, bounds from the end": sliced([-5], [-1], [2]),
    "Slice to the end": sliced([1], [LARGEST_INT64], [2]),
    "Slice, neither": sliced([0, 0, 1, 1], [2, 8, 9, 9]),
    "Slice, steps": sliced([0, 0, 1, 1], [2, 8, 9, 9], None, [1, 1, 2, 2]),
    "Slice, all": sliced([1], [9], [3], [2]),
    "Slice backwards": sliced([-1], [-LARGEST_INT64], [3], [-1]),
    "Slice of a shape": lambda s, x: s.op(
        "Reshape",
        x,
        s.op("Concat", s.op("Slice", s.op("Shape", x), s.ints(0), s.ints(2)), s.ints(-1), axis=0),
    ),
    "Pad": lambda s, x: s.op("Pad", x, s.ints(0, 0, 1, 1, 0, 0, 2, 2)),
    "Pad, value": lambda s, x: s.op("Pad", x, s.ints(0, 0, 1, 1, 0, 0, 2, 2), s.const(1)),
    "Pad, axes": lambda s, x: s.op("Pad", x, s.ints(1, 2, 1, 2), "", s.ints(2, 3)),
    "Pad, both": lambda s, x: s.op("Pad", x, s.ints(1, 2, 1, 2), s.const(2), s.ints(-2, -1)),
    "Pad that cuts": lambda s, x: s.op("Pad", x, s.ints(0, 0, -1, 0, 0, 0, 0, 2)),
    "Pad by reflection": lambda s, x: s.op("Pad", x, s.ints(1, 2), "", s.ints(3), mode="reflect"),
    "Resize, scales": resized(False, scales=[1, 1, 2, 2]),
    "Resize, scales and axes": resized(True, scales=[2, 2]),
    "Resize, scales and region": resized(False, scales=[1, 1, 2, 2], region=True),
    "Resize, sizes and axes": resized(True, sizes=[48, 40]),
    "Resize, sizes, axes and region": resized(True, sizes=[48, 40], region=True),
    "Clip": lambda s, x: s.op("Clip", x),
    "Clip, least": lambda s, x: s.op("Clip", x, s.const(-1)),
    "Clip, most": lambda s, x: s.op("Clip", x, "", s.const(1)),
    "Clip, both": lambda s, x: s.op("Clip", x, s.const(-1), s.const(1)),
    "TopK": largest,
    "TopK, axis and order": lambda s, x: largest(s, x, axis=1, largest=0, sorted=1),
    "Gather": lambda s, x: s.op("Gather", x, s.ints(1, 3), axis=1),
    "Gather of one": lambda s, x: s.op("Gather", x, s.const(1, np.int64), axis=1),
    "Gather from the end": lambda s, x: s.op("Gather", x, s.ints(-1, 0), axis=1),
    "GatherElements": lambda s, x: s.op(
        "GatherElements", x, s.const(np.zeros((2, 8, 32, 1)), np.int64), axis=3
    ),
    "ScatterElements": lambda s, x: s.op(
        "ScatterElements",
        x,
        s.const(np.zeros((2, 8, 32, 1)), np.int64),
        s.const(np.zeros((2, 8, 32, 1))),
        axis=3,
    ),
    "Squeeze, axes": lambda s, x: s.op("Squeeze", s.op("Unsqueeze", x, s.ints(1)), s.ints(1)),
    "ReduceMean": lambda s, x: s.op("ReduceMean", x),
    "ReduceMean, axes": lambda s, x: s.op("ReduceMean", x, s.ints(2, 3)),
    "ReduceSum of nothing": lambda s, x: s.op("ReduceSum", x, noop_with_empty_axes=1),
    "Split, sizes": lambda s, x: s.op("Split", x, s.ints(8), axis=1),
    "Conv without bias": lambda s, x: s.op("Conv", x, s.const(np.ones((4, 8, 1, 1)))),
    "Gemm without bias": lambda s, x: s.op(
        "Gemm", s.op("Flatten", s.op("GlobalMaxPool", x)), s.const(np.ones((8, 4)))
    ),
    "LayerNormalization without bias": lambda s, x: s.op(
        "LayerNormalization", x, s.const(np.ones(32))
    ),
    "Dropout, ratio": lambda s, x: s.op("Dropout", x, s.const(0.5)),
}


# Forms that TensorRT-RTX 1.7 refuses where the batch is dynamic.
REFUSED = {"Resize, sizes and axes", "Resize, sizes, axes and region"}


@pytest.mark.parametrize("batch", [2, "batch"])
@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_inputs(name: str, batch: int | str, tmp_path: Path) -> None:
    s = network(3)
    if batch == "batch" and "Elements" in name:
        pytest.skip("the shape of its indices is fixed")
    model = s.model(OPTIONAL[name](s, features(s)), opset=18, batch=batch)
    verdict = compare(model, tmp_path)
    assert bool(verdict.raw) == (batch == "batch" and name in REFUSED)
    assert verdict.ours == {}


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs(seed: int, tmp_path: Path) -> None:
    """Draw a few of the graphs of which `benchmarks/refusals.py` draws a thousand."""
    assert compare(random_graph(seed), tmp_path).ours == {}
