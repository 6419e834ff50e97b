"""Each rewrite of folding: what becomes of the nodes, and that the results stay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.models import Network, classifier, network, outputs, photographs, yolov8_like
from trtforge.backends.onnxruntime import session
from trtforge.graph.fold import constants, fold
from trtforge.graph.fold.equality import different


def folded(s: Network, *results: str, batch: int | str = "batch", side: Any = 64) -> Counter[str]:
    """Kinds of nodes after folding; the results are compared for two images."""
    model = s.model(*results, opset=17, batch=batch, side=side)
    after = fold(model)
    onnx.checker.check_model(after, full_check=True)
    images = photographs(batch if isinstance(batch, int) else 2)
    for one, other in zip(outputs(model, images), outputs(after, images), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * np.abs(one).max())
    assert [value.name for value in after.graph.output] == list(results)
    assert fold(after).SerializeToString(deterministic=True) == after.SerializeToString(
        deterministic=True
    )
    return Counter(node.op_type for node in after.graph.node)


def features(s: Network) -> str:
    """`(B, 8, 32, 32)`"""
    return s.relu("image", (3, 8), 3, 2)


# -------------------------------------------------------------------------------------------------
# no-operations


NO_OPS: dict[str, Any] = {
    "Identity": lambda s, x: s.op("Identity", x),
    "Dropout": lambda s, x: s.op("Dropout", x, s.const(0.5)),
    "Cast to what it is": lambda s, x: s.op("Cast", x, to=TensorProto.FLOAT),
    "Cast there and back": lambda s, x: s.op("Cast", s.op("Cast", x, to=TensorProto.DOUBLE), to=TensorProto.FLOAT),
    "Transpose of nothing": lambda s, x: s.op("Transpose", x, perm=[0, 1, 2, 3]),
    "Transpose twice": lambda s, x: s.op("Transpose", s.op("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]),
    "Reshape to what it is": lambda s, x: s.op("Reshape", x, s.ints(0, 8, -1, 32)),
    "Reshape there and back": lambda s, x: s.op("Reshape", s.op("Reshape", x, s.ints(0, -1)), s.ints(-1, 8, 32, 32)),
    "Unsqueeze and Squeeze": lambda s, x: s.op("Squeeze", s.op("Unsqueeze", x, s.ints(1)), s.ints(1)),
    "Concat of one": lambda s, x: s.op("Concat", x, axis=1),
    "Slice of all": lambda s, x: s.slice(x, 0, 2**62, 1),
    "Pad by nothing": lambda s, x: s.op("Pad", x, s.ints(*[0] * 8)),
    "Expand to what it is": lambda s, x: s.op("Expand", x, s.op("Shape", x)),
    "Tile once": lambda s, x: s.op("Tile", x, s.ints(1, 1, 1, 1)),
    "Resize by one": lambda s, x: s.op("Resize", x, "", s.const([1, 1, 1, 1]), mode="linear"),
    "MaxPool of one": lambda s, x: s.op("MaxPool", x, kernel_shape=[1, 1]),
    "plus 0": lambda s, x: s.op("Add", s.const([[0]]), x),
    "times 1": lambda s, x: s.op("Mul", x, s.const(np.ones((8, 1, 1)))),
    "to the power of 1": lambda s, x: s.op("Pow", x, s.const(1)),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_OPS)
@pytest.mark.parametrize("last", [True, False])
def test_a_node_that_does_nothing_is_gone(case: str, last: bool) -> None:
    s = network(1)
    y = NO_OPS[case](s, features(s))
    if last:
        assert folded(s, y) == {"Conv": 1, "Relu": 1}
    else:
        assert folded(s, s.conv(y, (8, 4))) == {"Conv": 2, "Relu": 1}


STAYS: dict[str, Any] = {
    "a reversal": lambda s, x: s.op("Slice", x, s.ints(31), s.ints(-100), s.ints(3), s.ints(-1)),
    "a constant that widens": lambda s, x: s.op("Add", x, s.const(np.zeros((2, 1, 1, 1, 1)))),
    "a cast that rounds": lambda s, x: s.op(
        "Cast", s.op("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT
    ),
    "a reshape that moves": lambda s, x: s.op("Reshape", x, s.ints(0, 32, 8, 32)),
    "a shrinking by rounded scales": lambda s, x: s.op(
        "Resize", x, "", s.const([1, 1, 1.01, 1.01]), mode="linear"
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_a_node_that_does_something_stays(case: str) -> None:
    s = network(1)
    assert sum(folded(s, s.op("Neg", STAYS[case](s, features(s)))).values()) > 3


def test_an_input_that_is_an_output_keeps_its_identity() -> None:
    s = network(1)
    assert folded(s, s.op("Identity", "image")) == {"Identity": 1}


def test_two_outputs_of_one_tensor_keep_their_names() -> None:
    s = network(1)
    x = features(s)
    assert folded(s, x, s.op("Identity", x)) == {"Conv": 1, "Relu": 1, "Identity": 1}


# ------------------------------------------------------------------------------------------------------------
# runs


def test_runs_of_reshapes_and_transposes_are_one() -> None:
    s = network(2)
    x = s.op(
        "Reshape",
        s.op("Flatten", s.op("Unsqueeze", features(s), s.ints(2))),
        s.ints(-1, 16, 16, 32),
    )
    x = s.op("Transpose", s.op("Transpose", x, perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2])
    assert folded(s, s.op("Neg", x)) == {
        "Conv": 1,
        "Relu": 1,
        "Reshape": 1,
        "Transpose": 1,
        "Neg": 1,
    }


def test_a_reshape_with_two_readers_stays() -> None:
    s = network(2)
    flat = s.op("Flatten", features(s))
    found = folded(s, s.op("Neg", flat), s.op("Abs", s.op("Reshape", flat, s.ints(0, 8, 1024))))
    assert found["Flatten"] == found["Reshape"] == 1


def test_concats_of_concats_are_one() -> None:
    s = network(2)
    x = features(s)
    inner = s.op("Concat", x, s.op("Neg", x), axis=1)
    assert folded(s, s.op("Neg", s.op("Concat", inner, s.op("Abs", x), axis=-3)))["Concat"] == 1


# ------------------------------------------------------------------------------------------------------
# arithmetic


def test_an_expand_by_the_batch_reads_one_number() -> None:
    """`Shape(x)[0]`, twice over, with torch's `where(shape == -1, 1, shape)` around it."""
    s = network(3)
    rows = []
    for _ in range(2):
        x = s.reshape(features(s), 8, 1024)
        batch = s.op(
            "Unsqueeze", s.op("Gather", s.op("Shape", x), s.const(0, np.int64), axis=0), s.ints(0)
        )
        wanted = s.op("Concat", batch, s.ints(8), s.ints(-1), axis=0)
        ones = s.op(
            "ConstantOfShape",
            s.ints(3),
            value=onnx.numpy_helper.from_array(np.array([1], np.int64)),
        )
        wanted = s.op("Where", s.op("Equal", wanted, s.op("Mul", ones, s.ints(-1))), ones, wanted)
        rows.append(s.op("Add", x, s.op("Expand", s.const(np.ones((1, 8, 1))), wanted)))
    found = folded(s, s.op("Concat", *rows, axis=2))
    assert found["Equal"] == found["Where"] == found["ConstantOfShape"] == 0
    assert (found["Shape"], found["Gather"], found["Concat"]) == (1, 0, 2)


def test_sizes_that_are_fixed_leave_no_arithmetic() -> None:
    s = network(3)
    x = features(s)
    height = s.op("Gather", s.op("Shape", x), s.const(2, np.int64), axis=0)
    steps = s.op(
        "Cast",
        s.op("Range", s.const(0, np.int64), height, s.const(1, np.int64)),
        to=TensorProto.FLOAT,
    )
    half = s.op(
        "Cast",
        s.op("Floor", s.op("Div", s.op("Cast", height, to=TensorProto.FLOAT), s.const(2))),
        to=7,
    )
    cut = s.op("Slice", x, s.ints(0), s.op("Unsqueeze", half, s.ints(0)), s.ints(2))
    grid = s.op("Reshape", s.op("Sin", steps), s.ints(1, 1, 1, -1))
    assert folded(s, s.op("Add", cut, grid)) == {"Conv": 1, "Relu": 1, "Slice": 1, "Add": 1}


def test_a_constant_output_is_an_identity() -> None:
    s = network(3)
    anchors = s.op("Sin", s.op("Range", s.const(0), s.const(8), s.const(1)))
    found = folded(s, features(s), anchors)
    assert found == {"Conv": 1, "Relu": 1, "Identity": 1}


def test_large_results_stay_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "LIMIT", 2048)
    s = network(3)
    wide = s.op("Expand", s.const(np.ones((1, 1, 1, 32))), s.ints(1, 8, 32, 32))
    # The result has 4 KiB, as has the constant that it is made from.
    turned = s.op("Transpose", s.const(np.ones((32, 32, 1, 1))), perm=[2, 3, 0, 1])
    found = folded(s, s.op("Add", s.op("Add", features(s), wide), s.slice(turned, 0, 1, 1)))
    assert found["Expand"] == 1
    assert found["Transpose"] == 0


def test_random_numbers_are_not_folded() -> None:
    s = network(3)
    noise = s.op("RandomNormal", shape=[1, 8, 1, 1], seed=1.0)
    model = s.model(s.op("Add", features(s), noise))
    assert "RandomNormal" in {node.op_type for node in fold(model).graph.node}


# --------------------------------------------------------------------------------------------------
# convolutions


def batch_norm(s: Network, x: str, channels: int) -> str:
    parts = [s.const(s.rng.uniform(0.5, 1.5, channels)) for _ in range(4)]
    return s.op("BatchNormalization", x, *parts)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalization_goes_into_weights(transposed: bool, groups: int, bias: bool) -> None:
    s = network(4)
    shape = (8, 12 // groups, 3, 3) if transposed else (12, 8 // groups, 3, 3)
    extra = [s.const(s.rng.normal(0, 1, 12))] if bias else []
    kind = "ConvTranspose" if transposed else "Conv"
    x = s.op(kind, features(s), s.const(s.rng.normal(0, 0.3, shape)), *extra, group=groups)
    assert folded(s, s.op("Neg", batch_norm(s, x, 12))) == Counter(Conv=1, Relu=1, Neg=1) + Counter(
        [kind]
    )


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (8, 1, 1), (1, 8, 1, 1), (1, 1, 1)])
def test_arithmetic_with_a_number_a_channel_goes_into_weights(
    op: str, shape: tuple[int, ...]
) -> None:
    s = network(4)
    x = s.conv("image", (3, 8), 3, 2)
    assert folded(s, s.op(op, x, s.const(s.rng.uniform(0.5, 1.5, shape)))) == {"Conv": 1}


def test_the_convolution_keeps_its_name_and_the_result_its_own() -> None:
    s = network(4)
    y = batch_norm(s, s.conv("image", (3, 8)), 8)
    node = fold(s.model(y)).graph.node[0]
    assert (node.name, node.output[0]) == ("n0", y)


KEPT: dict[str, Any] = {
    "a constant a position": lambda s, x: s.op(
        "Add", x, s.const(s.rng.normal(0, 1, (1, 1, 32, 32)))
    ),
    "a constant first": lambda s, x: s.op("Sub", s.const(1), x),
    "two readers": lambda s, x: s.op("Add", batch_norm(s, x, 8), x),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_does_not_fit_into_weights_stays(case: str) -> None:
    s = network(4)
    assert sum(folded(s, KEPT[case](s, s.conv("image", (3, 8), 3, 2))).values()) > 1


def test_zeros_around_an_image_go_into_pads() -> None:
    s = network(4)
    x = s.op("Pad", features(s), s.ints(0, 0, 1, 2, 0, 0, 3, 4), s.const(0))
    assert folded(s, s.conv(x, (8, 4), 3)) == {"Conv": 2, "Relu": 1}


@pytest.mark.parametrize("pads", [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 0, 0]])
def test_other_padding_stays(pads: list[int]) -> None:
    s = network(4)
    x = s.op("Pad", features(s), s.ints(*pads), s.const(0))
    assert folded(s, s.conv(x, (8 + pads[1], 4), 3))["Pad"] == 1


@pytest.mark.parametrize(("mode", "fill"), [("reflect", 0.0), ("constant", 1.0)])
def test_padding_with_other_than_zeros_stays(mode: str, fill: float) -> None:
    s = network(4)
    x = s.op("Pad", features(s), s.ints(0, 0, 1, 1, 0, 0, 1, 1), s.const(fill), mode=mode)
    assert folded(s, s.conv(x, (8, 4), 3))["Pad"] == 1


LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize("fill", [LOWEST, -np.inf])
def test_the_lowest_number_around_an_image_goes_into_the_pads_of_a_pool(fill: float) -> None:
    s = network(4)
    x = s.op("Pad", features(s), s.ints(0, 0, 0, 0, 0, 0, 1, 1), s.const(fill))
    y = s.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1])
    assert folded(s, y) == {"Conv": 1, "Relu": 1, "MaxPool": 1}


@pytest.mark.parametrize(
    ("pads", "attributes"),
    [
        ((0, 0, 2, 0, 0, 0, 0, 0), {}),
        ((0, 0, 0, 0, 0, 0, 1, 1), {"ceil_mode": 1}),
        ((0, 1, 0, 0, 0, 0, 0, 0), {}),
    ],
    ids=["a window of padding alone", "a window that reaches over the border", "other channels"],
)
def test_what_a_pool_cannot_add_stays(pads: tuple[int, ...], attributes: dict[str, int]) -> None:
    s = network(4)
    x = s.op("Pad", features(s), s.ints(*pads), s.const(LOWEST))
    y = s.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], **attributes)
    assert folded(s, y)["Pad"] == 1


@pytest.mark.parametrize("fill", [[0.0], [np.float32(0)], []], ids=["zero", "float", "default"])
def test_zeros_around_an_image_stay_zeros_for_a_pool(fill: list[float]) -> None:
    """YOLOv3-tiny has zeros before a MaxPool; ONNX Runtime before 1.32 takes its pads instead."""
    s = network(4)
    x = s.op("Neg", features(s))
    x = s.op("Pad", x, s.ints(0, 0, 0, 0, 0, 0, 1, 1), *(s.const(each) for each in fill))
    y = s.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1])
    model = s.model(y, opset=17, batch=1, side=64)
    feed = {"image": photographs(1)}
    (right,) = session(model.SerializeToString()).run(None, feed)
    (ours,) = onnxruntime.InferenceSession(fold(model).SerializeToString()).run(None, feed)
    assert not right[..., -1, :].any() and right.any()
    np.testing.assert_allclose(ours, right, rtol=0, atol=1e-5)


# -----------------------------------------------------------------------------------------------------
# duplicates


def test_equal_constants_and_equal_nodes_are_one() -> None:
    s = network(5)
    x = features(s)
    table = np.arange(8.0)[:, None, None] * np.ones((1, 32, 32))
    y = s.op(
        "Add",
        s.op("Sin", s.op("Add", x, s.const(table))),
        s.op("Cos", s.op("Add", x, s.const(table))),
    )
    assert folded(s, y) == {"Conv": 1, "Relu": 1, "Add": 2, "Sin": 1, "Cos": 1}


def test_constants_of_equal_bytes_and_other_types_are_two() -> None:
    s = network(5)
    x = features(s)
    zeros = [
        s.op(
            "ConstantOfShape",
            s.op("Shape", x),
            value=onnx.numpy_helper.from_array(np.zeros(1, dtype)),
        )
        for dtype in (np.float32, np.int32)
    ]
    found = folded(
        s, s.op("Add", s.op("Add", x, zeros[0]), s.op("Cast", zeros[1], to=TensorProto.FLOAT))
    )
    assert found["ConstantOfShape"] == 2


def test_random_nodes_are_not_one() -> None:
    s = network(5)
    noise = [s.op("RandomNormal", shape=[1, 8, 1, 1]) for _ in range(2)]
    after = fold(s.model(s.op("Add", features(s), s.op("Sub", *noise))))
    assert sum(node.op_type == "RandomNormal" for node in after.graph.node) == 2


# ----------------------------------------------------------------------------------------------------------
# types


def test_double_is_computed_in_float() -> None:
    s = network(6)
    x = s.op("Cast", features(s), to=TensorProto.DOUBLE)
    x = s.op("Tanh", s.op("Mul", x, s.const(0.5, np.float64)))
    assert folded(s, s.op("Cast", x, to=TensorProto.FLOAT)) == {
        "Conv": 1,
        "Relu": 1,
        "Mul": 1,
        "Tanh": 1,
    }


def test_double_beyond_float_is_its_largest() -> None:
    s = network(6)
    x = s.op("Max", s.op("Cast", features(s), to=TensorProto.DOUBLE), s.const(-1e300, np.float64))
    after = fold(s.model(s.op("Cast", x, to=TensorProto.FLOAT)))
    values = [onnx.numpy_helper.to_array(each) for each in after.graph.initializer if not each.dims]
    assert [float(each) for each in values] == [float(np.finfo(np.float32).min)]


def test_indices_become_int32_where_they_fit() -> None:
    s = network(6)
    x = s.op("Gather", features(s), s.ints(3, 1), axis=1)
    s.slice(x, 0, np.iinfo(np.int64).max, 2)
    x = s.op("Slice", x, s.ints(1), s.ints(np.iinfo(np.int64).max), s.ints(2))
    after = fold(s.model(x))
    assert {
        each.data_type
        for each in after.graph.initializer
        if len(each.dims) == 1 and each.dims[0] < 3
    } == {6}
    assert different(s.model(x), after) is None


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("bounds", [([1, 0, 2], [2, 4, 9], None), ([2], [9], [-1])])
def test_a_slice_names_its_axes_and_steps(
    bounds: tuple[list[int], list[int], list[int] | None], dtype: type
) -> None:
    """TensorRT-RTX refuses int32 bounds without steps."""
    s = network(6)
    read = [s.const(each, dtype) for each in bounds if each is not None]
    model = s.model(s.op("Slice", features(s), *read), batch=2)
    after = fold(model)
    (cut,) = [node for node in after.graph.node if node.op_type == "Slice"]
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in after.graph.initializer}
    written = [constants[name].tolist() for name in cut.input[1:]]
    count = len(bounds[0])
    assert written == [*bounds[:2], bounds[2] or list(range(count)), [1] * count]
    assert {constants[name].dtype for name in cut.input[1:]} == {np.dtype(np.int32)}
    assert different(model, after) is None


# ------------------------------------------------------------------------------------------------------
# the check


def test_the_check_sees_a_change() -> None:
    model = classifier()
    broken = fold(model)
    weights = next(each for each in broken.graph.initializer if len(each.dims) == 4)
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    assert different(model, broken) == model.graph.output[0].name


def choosing(shift: float) -> onnx.ModelProto:
    """The best 5 of columns that are all alike but for ``shift``."""
    s = network(7)
    x = s.op("ReduceMean", s.conv("image", (3, 1)), axes=[1, 2], keepdims=0)
    y = s.op("Add", s.op("Mul", x, s.const(0)), s.const(1 + np.arange(64) * shift))
    s.nodes.append(helper.make_node("TopK", [y, s.ints(5)], ["best", "where"], "top", axis=1))
    return s.model("best", s.op("Cast", "where", to=TensorProto.FLOAT))


def test_the_check_is_not_fooled_by_a_choice_between_equals() -> None:
    assert different(choosing(1.2e-7), choosing(-1.2e-7)) is None
    assert different(choosing(1.0), choosing(-1.0)) is not None


def test_every_dynamic_dimension_has_a_name() -> None:
    model = yolov8_like()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].Clear()
    after = fold(model).graph
    for value in [*after.input, *after.value_info, *after.output]:
        assert all(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim), (
            value.name
        )
    assert {value.name for value in after.value_info} >= {
        node.output[0] for node in after.node[:-1]
    }
