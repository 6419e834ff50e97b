"""What happens before the first convolution, moved into the graph: compared by running both."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import SIDE, classifier, network, objectness, outputs
from trtforge.calibration.images import normalise
from trtforge.errors import ForgeError
from trtforge.graph.edit.preprocess import fold_normalization, fold_std, image_front, swap_channels
from trtforge.graph.model import graph_of, model_of
from trtforge.recipe import Preprocess

IMAGENET = Preprocess(offsets=(123.675, 116.28, 103.53), std=(0.229, 0.224, 0.225))


def focus(**kwargs: Any) -> onnx.ModelProto:
    """YOLOv5's and YOLOX's first layer: every other pixel in channels of its own."""
    s = network(3)
    parts = []
    for x in (0, 1):
        for y in (0, 1):
            rows = s.op("Slice", "image", s.ints(y), s.ints(SIDE), s.ints(2), s.ints(2))
            parts.append(s.op("Slice", rows, s.ints(x), s.ints(SIDE), s.ints(3), s.ints(2)))
    return s.model(s.relu(s.op("Concat", *parts, axis=1), (12, 8), 3), **kwargs)


def zeros_around(**kwargs: Any) -> onnx.ModelProto:
    """EfficientNet's first layer: zeros on two sides, by a node of their own."""
    s = network(3)
    padded = s.op("Pad", "image", s.ints(0, 0, 0, 0, 0, 0, 1, 1), s.const(0))
    return s.model(s.relu(padded, (3, 8), 3), **kwargs)


MODELS = {
    "padded": classifier,
    "not padded": objectness,
    "focus": focus,
    "zeros around": zeros_around,
}


def frames(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)


def prepared(pixels: np.ndarray, spec: Preprocess) -> np.ndarray:
    return np.stack([normalise(each, spec) for each in pixels])


def alike(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(b, a, atol=2e-5 * np.abs(a).max())


@pytest.mark.parametrize("name", MODELS)
def test_deviations_go_into_the_weights(name: str) -> None:
    graph = graph_of(MODELS[name]())
    left = fold_std(graph, IMAGENET)
    assert (left.std, left.offsets) == (None, IMAGENET.offsets)
    nodes = len(graph.nodes)
    before, after = prepared(frames(), IMAGENET), prepared(frames(), left)
    assert np.abs(before - after).max() > 1  # or there was nothing to fold
    alike(outputs(MODELS[name](), before), outputs(model_of(graph), after))
    assert nodes == len(graph_of(MODELS[name]()).nodes)


@pytest.mark.parametrize(
    ("name", "extra"), [("padded", 1), ("not padded", 0), ("focus", 1), ("zeros around", 1)]
)
def test_means_too(name: str, extra: int) -> None:
    """A convolution that pads keeps one subtraction: its padding is the mean colour, and not black."""
    graph = graph_of(MODELS[name]())
    nodes = len(graph.nodes)
    left = fold_normalization(graph, IMAGENET)
    assert (left.std, left.offsets) == (None, (0, 0, 0))
    assert len(graph.nodes) == nodes + extra
    alike(
        outputs(MODELS[name](), prepared(frames(), IMAGENET)),
        outputs(model_of(graph), prepared(frames(), left)),
    )


@pytest.mark.parametrize("name", MODELS)
def test_channels_change_places(name: str) -> None:
    graph = graph_of(MODELS[name]())
    left = swap_channels(graph, IMAGENET)
    assert (left.color, left.std, left.offsets) == (
        "bgr",
        IMAGENET.std[::-1],
        IMAGENET.offsets[::-1],
    )
    before, after = prepared(frames(), IMAGENET), prepared(frames(), left)
    np.testing.assert_array_equal(after, before[:, ::-1])
    alike(outputs(MODELS[name](), before), outputs(model_of(graph), after))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("name", MODELS)
def test_frames_in_uint8(name: str, color: Any) -> None:
    spec = IMAGENET.model_copy(update={"color": color})
    graph = graph_of(MODELS[name]())
    image_front(graph, spec)
    model = model_of(graph)
    value = model.graph.input[0]
    assert (value.name, value.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim] == [
        "batch",
        SIDE,
        SIDE,
        3,
    ]
    # TensorRT requires a Cast behind a uint8 input.
    assert next(node for node in graph.nodes if node.inputs[0].name == "image").op == "Cast"
    onnx.checker.check_model(model, full_check=True)
    for batch in (1, 4):
        alike(outputs(MODELS[name](), prepared(frames(batch), spec)), outputs(model, frames(batch)))


def test_all_at_once() -> None:
    graph = graph_of(focus())
    spec = fold_normalization(graph, swap_channels(graph, IMAGENET))
    image_front(graph, spec)
    alike(outputs(focus(), prepared(frames(), IMAGENET)), outputs(model_of(graph), frames()))


def test_weights_that_others_share_stay() -> None:
    s = network(4)
    shared = s.const(s.rng.normal(0, 0.1, (3, 3, 1, 1)))
    first = s.op("Conv", "image", shared, kernel_shape=[1, 1])
    model = s.model(s.op("Conv", s.op("Relu", first), shared, kernel_shape=[1, 1]))
    graph = graph_of(model)
    left = fold_std(graph, IMAGENET)
    alike(
        outputs(model, prepared(frames(), IMAGENET)),
        outputs(model_of(graph), prepared(frames(), left)),
    )


def test_what_stands_before_the_convolution_is_named() -> None:
    s = network(4)
    model = s.model(s.relu(s.op("Div", "image", s.const(255)), (3, 8), 3))
    with pytest.raises(ForgeError, match=r"'n0' \(Div\)"):
        fold_std(graph_of(model), IMAGENET)


def test_quantized_weights_are_refused() -> None:
    s = network(4)
    weights = s.op(
        "DequantizeLinear",
        s.const(np.ones((8, 3, 1, 1)), np.int8),
        s.const(0.1),
        s.const(0, np.int8),
    )
    model = s.model(s.op("Conv", "image", weights, kernel_shape=[1, 1]))
    with pytest.raises(ForgeError, match="not constant"):
        fold_std(gs.import_onnx(model), IMAGENET)
