"""Rows are what convolutions read; ranges and weights refined by them come closer to the float
network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from PIL import Image

from tests.models import (
    SIDE,
    Network,
    classifier,
    network,
    outputs,
    photographs,
    yolov7_like,
    yolov8_like,
)
from trtforge.calibration import rows as module
from trtforge.calibration.images import prepare
from trtforge.calibration.refine import narrow_ranges, refine_weights
from trtforge.calibration.rows import can_sample, sample
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.quantize.qdq import Placement, place, quantize
from trtforge.recipe import Preprocess

Build = Callable[..., onnx.ModelProto]


def batch(path: Path) -> np.ndarray:
    return prepare(path, Preprocess(), (SIDE, SIDE))


def silent(_: float) -> None:
    pass


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for index in range(12):
        pixels = (photographs(1, seed=index)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index:03}.png")
    return sorted(tmp_path.iterdir())


def tapped(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> list[np.ndarray]:
    graph = graph_of(model)
    found = graph.tensors()
    graph.outputs = [found[name] for name in names]
    return outputs(model_of(graph.cleanup()), images)


def peaks(
    model: onnx.ModelProto, placement: Placement, files: list[Path], share: float = 1.0
) -> dict[str, float]:
    images = np.concatenate([batch(file) for file in files])
    names = list(placement.observed)
    found = dict(zip(names, tapped(model, names, images), strict=True))
    return {
        name: share * max(float(np.abs(found[source]).max()) for source in sources)
        for members, sources in placement.groups
        for name in members
    }


def int8(model: onnx.ModelProto, amax: dict[str, float], **kwargs: object) -> onnx.ModelProto:
    graph = graph_of(model)
    return model_of(quantize(graph, place(graph), amax, **kwargs))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------
# rows


GEOMETRY = [
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "pads": [2, 1, 0, 3], "dilations": [2, 1]},
    {"kernel_shape": [1, 3], "strides": [1, 3]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 2},
]


@pytest.mark.parametrize("attrs", GEOMETRY)
def test_a_row_times_the_weights_is_an_output_of_the_convolution(
    attrs: dict[str, object], files: list[Path]
) -> None:
    s = network(1)
    groups = int(str(attrs.get("group", 1)))
    x = s.conv("image", (3, 4))
    shape = (6, 4 // groups, *attrs["kernel_shape"])  # type: ignore[misc]
    y = s.op("Conv", x, s.const(s.rng.normal(size=shape)), **attrs)
    model = fold(s.model(y))
    graph = graph_of(model)
    node = next(node for node in graph.nodes if node.outputs[0].name == y)
    for file, found in zip(files, sample(graph.copy(), [node], files, batch, 50), strict=True):
        windows = found[node.name].reshape(50, groups, -1)
        weights = node.inputs[1].values.reshape(groups, 6 // groups, -1)
        made = np.einsum("ngk,gok->ngo", windows, weights).reshape(50, 6)
        expected = tapped(model, [y], batch(file))[0][0].reshape(6, -1).T
        assert found[node.name].dtype == np.float32
        assert all(np.abs(expected - row).max(axis=1).min() < 1e-4 for row in made)
        assert len(np.unique(made.round(3), axis=0)) > 30  # from all over the image


def test_rows_come_in_the_order_of_the_images_whatever_the_number_of_workers(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(fold(yolov8_like()))
    nodes = [node for node in graph.nodes if can_sample(node)]
    found = []
    for workers in (1, 4):
        monkeypatch.setattr(module, "MAX_WORKERS", workers)
        monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
        found.append(list(sample(graph.copy(), nodes, files, batch, 8)))
    assert len(found[0]) == len(files)
    for one, other in zip(*found, strict=True):
        assert one.keys() == other.keys() == {node.name for node in nodes}
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_fixed_batch_is_filled(files: list[Path]) -> None:
    rows = []
    for size in (1, 3):
        graph = graph_of(fold(classifier(batch=size)))
        rows.append(
            list(
                sample(
                    graph, [node for node in graph.nodes if node.op == "Conv"], files[:2], batch, 8
                )
            )
        )
    assert all(
        np.allclose(one[name], other[name], atol=1e-5)
        for one, other in zip(*rows, strict=True)
        for name in one
    )


@pytest.mark.parametrize(
    "attrs, rank, expected", [({}, 2, True), ({"auto_pad": "SAME_UPPER"}, 2, False), ({}, 1, False)]
)
def test_only_plain_convolutions_are_readable(
    attrs: dict[str, str], rank: int, expected: bool
) -> None:
    weights = gs.Constant("w", np.ones((1, 1, *[1] * rank), np.float32))
    assert (
        can_sample(gs.Node("Conv", "c", attrs, [gs.Variable("x"), weights], [gs.Variable("y")]))
        is expected
    )


# -----------------------------------------------------------------------------------------------------
# weights


@pytest.mark.parametrize("build", [yolov7_like, yolov8_like, classifier])
def test_refined_weights_lower_the_error_on_other_images(build: Build, files: list[Path]) -> None:
    model = fold(build())
    graph = graph_of(model)
    placement = place(graph)
    amax = peaks(model, placement, files)
    found = refine_weights(graph, placement, amax, files, batch, silent)
    assert set(found) == {
        node.name for node in graph.nodes if node.op == "Conv" and node.name in placement.operators
    }
    unseen = photographs(8, seed=100)
    # Just behind convolutions: a decode makes steps of small errors.
    ends = [node.outputs[0].name for node in graph.nodes if node.name in found][-3:]
    exact = tapped(model, ends, unseen)
    errors = []
    for weights in (found, {}):
        made = tapped(int8(model, amax, rounded=weights), ends, unseen)
        errors.append(
            sum(float(np.square(a - b).mean() / b.var()) for a, b in zip(made, exact, strict=True))
        )
    assert errors[0] < 0.95 * errors[1]  # most of it is the rounding of activations, which stays


def test_the_same_images_give_the_same_integers(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(fold(yolov7_like()))
    placement = place(graph)
    amax = dict.fromkeys(placement.tensors, 3.0)
    one = refine_weights(graph, placement, amax, files, batch, silent)
    monkeypatch.setattr(module, "MAX_WORKERS", 1)
    other = refine_weights(graph, placement, amax, files, batch, silent)
    for name, found in one.items():
        assert np.array_equal(found.integers, other[name].integers)
        assert np.array_equal(found.scales, other[name].scales) and np.array_equal(
            found.bias, other[name].bias
        )


def test_progress_counts_images(files: list[Path]) -> None:
    graph = graph_of(fold(classifier()))
    placement = place(graph)
    told: list[float] = []
    refine_weights(
        graph, placement, dict.fromkeys(placement.tensors, 3.0), files, batch, told.append
    )
    assert told == list(range(1, 13))


# ------------------------------------------------------------------------------------------------------
# ranges


def outlier(behind: str) -> tuple[Network, str]:
    """A convolution that reads a channel of few and large values, which drive every output far
    below 0.
    """
    s = network(3)
    weights = s.rng.normal(0, 0.3, (8, 3, 1, 1))
    weights[7] = 40
    x = s.op(
        "Relu",
        s.op("Conv", "image", s.const(weights), s.const([0] * 7 + [-90.0]), kernel_shape=[1, 1]),
    )
    weights = s.rng.normal(0, 1, (16, 8, 1, 1))
    weights[:, 7] = -4
    x = s.op("Conv", x, s.const(weights), s.const(np.full(16, 0.3)), kernel_shape=[1, 1])
    if behind == "silu":
        x = s.op("Mul", x, s.op("Sigmoid", x))
    elif behind:
        x = s.op(behind, x)
    return s, s.conv(x, (16, 4))


@pytest.mark.parametrize(
    "behind, narrows", [("silu", True), ("Relu", True), ("", False), ("Tanh", False)]
)
def test_values_that_the_activation_flattens_do_not_set_the_range(
    behind: str, narrows: bool, files: list[Path]
) -> None:
    s, end = outlier(behind)
    model = fold(s.model(end))
    graph = graph_of(model)
    placement = place(graph)
    amax = peaks(model, placement, files)
    found = narrow_ranges(graph, placement, amax, files, batch)
    read = next(node for node in graph.nodes if node.name in placement.operators).inputs[0].name
    assert (read in found) is narrows
    assert all(value < amax[name] for name, value in found.items())
    if narrows:
        unseen = photographs(8, seed=100)
        (exact,) = tapped(model, [graph.outputs[0].name], unseen)
        errors = [
            np.square(outputs(int8(model, ranges), unseen)[0] - exact).mean()
            for ranges in (amax | found, amax)
        ]
        assert errors[0] < errors[1]


@pytest.mark.parametrize("build", [yolov7_like, yolov8_like])
def test_a_group_is_narrowed_as_a_whole_and_never_widened(build: Build, files: list[Path]) -> None:
    model = fold(build())
    graph = graph_of(model)
    placement = place(graph)
    amax = peaks(model, placement, files, share=3.0)  # too wide: there is room
    found = narrow_ranges(graph, placement, amax, files, batch)
    assert found
    for members, _ in placement.groups:
        assert len({found.get(name, amax[name]) for name in members}) == 1
    assert all(found[name] < amax[name] for name in found)


def test_what_an_add_reads_keeps_its_range(files: list[Path]) -> None:
    model = fold(classifier())
    graph = graph_of(model)
    placement = place(graph)
    adds = {node.name for node in graph.nodes if node.op == "Add"}
    read = {
        name
        for name, readers in placement.readers.items()
        if adds & {reader for reader, _ in readers}
    }
    assert read
    assert not read & set(
        narrow_ranges(graph, placement, peaks(model, placement, files, share=3.0), files, batch)
    )


def test_tensors_that_were_always_zero_are_left_alone(files: list[Path]) -> None:
    graph = graph_of(fold(yolov8_like()))
    placement = place(graph)
    amax = dict.fromkeys(placement.tensors, 0.0)
    assert narrow_ranges(graph, placement, amax, files, batch) == {}
    assert refine_weights(graph, placement, amax, files[:1], batch, silent)
