"""Folding changes the graph and none of its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from tests.models import (
    SIDE,
    anchor_free,
    classifier,
    network,
    objectness,
    outputs,
    photographs,
    sketch,
    yolov7_like,
    yolov8_like,
)
from trtforge.errors import ForgeError
from trtforge.graph.fold import OPSET, dims, fold, image_input
from trtforge.graph.fold.constants import nan_weight

BUILDERS = [yolov7_like, yolov8_like, classifier, objectness, anchor_free]
Build = Callable[..., onnx.ModelProto]


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_stay_the_same(build: Build, batch: int) -> None:
    model = build()
    images = photographs(batch)
    for before, after in zip(outputs(model, images), outputs(fold(model), images), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["Conv", "Mul"])
def test_nan_weights_are_named(kind: str) -> None:
    model = yolov7_like()
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    assert nan_weight(fold(model)) is None
    node = next(
        node for node in model.graph.node if node.op_type == kind and set(node.input) & set(weights)
    )
    tensor = weights[next(name for name in reversed(node.input) if name in weights)]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    found = nan_weight(fold(model))
    assert found and found[0] in {each.name for each in fold(model).graph.node}


def test_infinities_of_a_mask_are_no_broken_weights() -> None:
    s = sketch()
    mask = np.zeros((1, 1, SIDE, SIDE), np.float32)
    mask[..., 0] = -np.inf
    assert (
        nan_weight(fold(s.model(s.op("Softmax", s.op("Add", "image", s.const(mask)), axis=-1))))
        is None
    )


def test_the_argument_is_left_alone() -> None:
    model = yolov7_like()
    before = model.SerializeToString()
    fold(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("build", [yolov7_like, yolov8_like])
def test_reshapes_no_longer_read_the_batch(build: Build) -> None:
    before, after = kinds(build()), kinds(fold(build()))
    assert min(before[op] for op in ("Shape", "Gather", "Unsqueeze")) >= 3
    assert not any(after[op] for op in ("Shape", "Gather", "Unsqueeze"))
    assert after["Reshape"] == before["Reshape"]
    assert after["Concat"] == before["Concat"] - before["Shape"]


def test_a_reshape_that_keeps_one_unknown_and_moves_another_needs_no_arithmetic() -> None:
    s = network(0)
    x = s.conv("image", (3, 4))
    shape = s.op("Shape", x)
    wanted = s.op("Concat", s.slice(shape, 0, 1, 0), s.ints(4), s.ints(-1), axis=0)
    model = s.model(s.op("Reshape", x, wanted), side="side")
    folded = fold(model)
    assert kinds(folded) == {"Conv": 1, "Reshape": 1}
    np.testing.assert_array_equal(
        outputs(model, photographs(2))[0], outputs(folded, photographs(2))[0]
    )


def test_a_reshape_that_moves_two_unknowns_is_left() -> None:
    s = network(0)
    x = s.conv("image", (3, 4))
    shape = s.op("Shape", x)
    wanted = s.op("Concat", s.ints(4), s.slice(shape, 0, 1, 0), s.ints(-1), axis=0)
    model = s.model(s.op("Reshape", x, wanted), side="side")
    folded = fold(model)
    assert kinds(folded)["Shape"] == 1
    np.testing.assert_array_equal(
        outputs(model, photographs(2))[0], outputs(folded, photographs(2))[0]
    )


def test_a_tensor_of_constants_is_folded() -> None:
    s = sketch()
    doubled = s.op("Mul", s.const([1, 2, 3]), s.const(2))
    model = s.model(s.op("Mul", "image", s.op("Reshape", doubled, s.ints(1, 3, 1, 1))))
    assert kinds(fold(model)) == {"Mul": 1}


@pytest.mark.parametrize("build", BUILDERS)
def test_folding_twice_changes_nothing(build: Build) -> None:
    once = fold(build())
    twice = fold(once)
    for part in ("node", "initializer", "input", "output"):
        assert list(getattr(twice.graph, part)) == list(getattr(once.graph, part))


@pytest.mark.parametrize("build", BUILDERS)
def test_the_same_model_gives_the_same_bytes(build: Build) -> None:
    assert fold(build()).SerializeToString(deterministic=True) == fold(build()).SerializeToString(
        deterministic=True
    )


# ----------------------------------------------------------------------------------------------------------
# size


def dynamic() -> onnx.ModelProto:
    s = network(0)
    return s.model(s.relu("image", (3, 4), 3, 2), side="side")


def test_size_fixes_a_dynamic_input() -> None:
    folded = fold(dynamic(), (64, 32))
    assert dims(image_input(folded)) == ["batch", 3, 64, 32]
    assert dims(folded.graph.output[0]) == ["batch", 4, 32, 16]


def test_size_that_the_model_has_already_is_fine() -> None:
    assert dims(image_input(fold(yolov7_like(), (SIDE, SIDE)))) == ["batch", 3, SIDE, SIDE]


def test_size_that_contradicts_the_model_is_refused() -> None:
    with pytest.raises(ForgeError, match="'image' is 64x64, not 32x32"):
        fold(yolov7_like(), (32, 32))


def test_without_size_a_dynamic_input_stays_dynamic() -> None:
    assert dims(image_input(fold(dynamic()))) == ["batch", 3, "side", "side"]


# --------------------------------------------------------------------------------------------------
# opset, names


@pytest.mark.parametrize("opset", [12, 13, 17])
def test_opset_is_raised(opset: int) -> None:
    s = network(0)
    model = s.model(s.maxpool(s.relu("image", (3, 4), 3, 2), 2, 2), opset=opset)
    folded = fold(model)
    assert [entry.version for entry in folded.opset_import if entry.domain == ""] == [OPSET]
    np.testing.assert_array_equal(
        outputs(model, photographs(1))[0], outputs(folded, photographs(1))[0]
    )


def test_a_newer_opset_stays() -> None:
    assert fold(objectness(opset=21)).opset_import[0].version == 21


def test_opset_none_leaves_it() -> None:
    assert fold(objectness(opset=13), opset=None).opset_import[0].version == 13


@pytest.mark.parametrize(
    ("build", "want"),
    [(yolov7_like, [252, 8]), (yolov8_like, [7, 84]), (classifier, [10])],
)
@pytest.mark.parametrize("batch", ["batch", "N", 1, 4])
def test_output_dims_are_the_batch_and_numbers(
    build: Build, want: list[int], batch: int | str
) -> None:
    assert dims(fold(build(batch=batch)).graph.output[0]) == [batch, *want]


def test_invented_dimension_names_become_numbers() -> None:
    model = yolov7_like()
    shape = TensorProto.FLOAT, ["batch", "Concatoutput_dim_1", "Concatoutput_dim_2"]
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info(model.graph.output[0].name, *shape)
    )
    assert dims(fold(model).graph.output[0]) == ["batch", 252, 8]


@pytest.mark.parametrize("name", ["", "same"])
def test_node_names_become_unique(name: str) -> None:
    model = classifier()
    for node in model.graph.node:
        node.name = name
    names = [node.name for node in fold(model).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_names_that_are_unique_stay() -> None:
    model = classifier()
    names = [node.name for node in model.graph.node]
    assert [node.name for node in fold(model).graph.node] == names


def test_input_and_output_names_stay() -> None:
    folded = fold(yolov8_like())
    assert [value.name for value in folded.graph.input] == ["image"]
    assert folded.graph.output[0].name == yolov8_like().graph.output[0].name


def test_an_unknown_operator_keeps_its_declared_output() -> None:
    model = classifier()
    node = onnx.helper.make_node("Something_TRT", [model.graph.output[0].name], ["made"], "plugin")
    model.graph.node.append(node)
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("made", TensorProto.FLOAT, ["batch", 7])
    )
    assert dims(fold(model, opset=None).graph.output[0]) == ["batch", 7]


# ---------------------------------------------------------------------------------------------------
# image input


def test_an_initializer_among_the_inputs_is_no_input() -> None:
    model = classifier()
    weights = model.graph.initializer[0]
    model.graph.input.append(
        onnx.helper.make_tensor_value_info(weights.name, TensorProto.FLOAT, list(weights.dims))
    )
    assert image_input(model).name == "image"


def test_two_inputs_are_named_and_refused() -> None:
    model = classifier()
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 8, 8])
    )
    with pytest.raises(ForgeError, match=r"2 inputs \(image, mask\)"):
        image_input(model)


def test_an_input_that_is_no_batch_of_images_is_refused() -> None:
    model = classifier()
    model.graph.input[0].CopyFrom(
        onnx.helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", 77])
    )
    with pytest.raises(ForgeError, match="'tokens' is not a batch of images"):
        image_input(model)


def test_a_dimension_without_a_name() -> None:
    assert dims(onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, "h"])) == [
        "?",
        3,
        "h",
    ]


@pytest.mark.parametrize("batch", [-1, None])
def test_a_batch_that_is_unnamed_serves_any_batch(batch: int | None) -> None:
    model = classifier()
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.Clear()
    if batch is not None:
        dim.dim_value = batch
    folded = fold(model)
    assert outputs(folded, photographs(3))[0].shape == (3, 10)
    assert not isinstance(dims(image_input(folded))[0], int)


NOTHING_FOUND = """<ir_version: 8, opset_import: ["": 17]>
clipped (float[N] scores, float[N, P] sides) => (float[n, K] out)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] end = {9}, float half = {0.5}>
{
  boxes = Concat <axis = 1> (sides, sides)
  scored = Greater (scores, half)
  found = NonZero (scored)
  flat = Squeeze (found, zero)
  kept = Gather <axis = 0> (boxes, flat)
  x = Slice (kept, zero, end, one, two)
  y = Slice (kept, one, end, one, two)
  x1 = Unsqueeze (x, two)
  y1 = Unsqueeze (y, two)
  shape = Shape (kept)
  stacked = Concat <axis = 2> (x1, y1)
  out = Reshape (stacked, shape)
}
"""


def test_a_reshape_still_takes_nothing_found() -> None:
    """-1 cannot be computed of 0 elements: [0, -1] ends the run on the first empty picture."""
    model = onnx.parser.parse_model(NOTHING_FOUND)
    folded = fold(model)
    sides = np.random.default_rng(0).random((8, 2), np.float32)
    for scores in (np.ones(8, np.float32), np.zeros(8, np.float32)):
        feed = {"scores": scores, "sides": sides}
        one, other = (
            onnxruntime.InferenceSession(each.SerializeToString()).run(None, feed)[0]
            for each in (model, folded)
        )
        np.testing.assert_array_equal(one, other)
