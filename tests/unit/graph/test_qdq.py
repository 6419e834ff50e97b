"""INT8 by Q/DQ: the rules as qdq.py numbers them, and graphs that run."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import (
    Network,
    classifier,
    correlation,
    network,
    outputs,
    photographs,
    yolov7_like,
    yolov8_like,
)
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.heads import decode, last_learned, learned
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.quantize.qdq import (
    FP8,
    INT8,
    SMALLEST_SCALE,
    Placement,
    fp16_scale,
    place,
    quantize,
)
from trtforge.graph.quantize.unserved import is_unserved

BUILDERS = [yolov7_like, yolov8_like, classifier]
Build = Callable[..., onnx.ModelProto]


def graph(s: Network, *names: str) -> gs.Graph:
    return graph_of(fold(s.model(*names)))


def measured(
    model: onnx.ModelProto, names: tuple[str, ...], images: np.ndarray
) -> dict[str, float]:
    """Largest magnitude of each tensor over the images."""
    tapped = graph_of(model)
    found = tapped.tensors()
    inner = [name for name in names if name != "image"]
    tapped.outputs += [found[name] for name in inner]
    values = dict(zip(inner, outputs(model_of(tapped), images)[1:], strict=True)) | {
        "image": images
    }
    return {name: float(np.abs(values[name]).max()) for name in names}


def int8(model: onnx.ModelProto, keep: tuple[str, ...] = ()) -> tuple[onnx.ModelProto, Placement]:
    """The folded model quantized by the ranges of some photographs, one range a group."""
    rewritten = graph_of(model)
    placement = place(rewritten, keep)
    peaks = measured(model, placement.observed, photographs(8))
    amax = {
        name: max(peaks[source] for source in sources)
        for members, sources in placement.groups
        for name in members
    }
    return model_of(quantize(rewritten, placement, amax)), placement


def producer(model: onnx.ModelProto, tensor: str) -> onnx.NodeProto | None:
    return next((node for node in model.graph.node if tensor in node.output), None)


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def scales(model: onnx.ModelProto, op: str = "QuantizeLinear") -> dict[str, np.ndarray]:
    return {
        node.input[0]: constant(model, node.input[1])
        for node in model.graph.node
        if node.op_type == op
    }


def quantized_inputs(model: onnx.ModelProto, name: str) -> list[bool]:
    """For each input of the node, whether it comes out of a DequantizeLinear."""
    node = next(node for node in model.graph.node if node.name == name)
    makers = [producer(model, tensor) for tensor in node.input]
    return [maker is not None and maker.op_type == "DequantizeLinear" for maker in makers]


# -----------------------------------------------------------------------------------------------------
# rule 1


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_1_inputs_and_weights_of_learned_operators_are_int8(build: Build) -> None:
    model = fold(build())
    names = [
        node.name
        for node in learned(graph_of(model))
        if node.inputs[0].name != "image" and not is_unserved(node)
    ]
    typed, placement = int8(model)
    assert list(placement.operators) == names
    for name in names:
        assert quantized_inputs(typed, name)[:2] == [True, True]


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_1_weights_are_stored_as_int8_symmetric_and_per_channel(build: Build) -> None:
    typed, placement = int8(fold(build()))
    for name in placement.operators:
        node = next(node for node in typed.graph.node if node.name == name)
        dequantize = producer(typed, node.input[1])
        assert dequantize is not None
        values, scale, zero = (constant(typed, tensor) for tensor in dequantize.input)
        assert (values.dtype, zero.dtype) == (np.int8, np.int8)
        assert not zero.any()
        axis = onnx.helper.get_node_attr_value(dequantize, "axis")
        assert scale.shape == zero.shape == (values.shape[axis],)
        assert values.min() >= -127


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_1_zero_points_are_zero(build: Build) -> None:
    typed, _ = int8(fold(build()))
    for node in typed.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constant(typed, node.input[2]).any()


def test_rule_1_the_channel_axis_of_convolutions() -> None:
    s = network(0)
    weights = s.const(s.rng.normal(0, 1, (6, 3, 3, 3)))
    check_channel_axis(s, s.op("Conv", s.op("Relu", "image"), weights, kernel_shape=[3, 3]), 0)


@pytest.mark.parametrize(
    ("op", "attrs", "shape", "axis"),
    [
        ("Gemm", {"transB": 1}, (32, 64), 0),
        ("Gemm", {}, (64, 32), 1),
        ("MatMul", {}, (64, 32), 1),
    ],
)
def test_rule_1_the_channel_axis_of_products(
    op: str, attrs: dict[str, int], shape: tuple[int, ...], axis: int
) -> None:
    s = network(0)
    rows = s.reshape(s.op("AveragePool", "image", kernel_shape=[8, 8], strides=[8, 8]), 192)
    rows = s.slice(rows, 0, 64, 1)
    check_channel_axis(s, s.op(op, rows, s.const(s.rng.normal(0, 1, shape)), **attrs), axis)


def check_channel_axis(s: Network, output: str, axis: int) -> None:
    """Every output channel's scale is that of its own weights, and the result is that of the float
    graph.
    """
    model = fold(s.model(output))
    typed, placement = int8(model)
    weights = (
        next(t for t in graph_of(model).nodes if t.name == placement.operators[0]).inputs[1].values
    )
    name = f"{placement.operators[0]}.weights"
    peaks = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis))
    np.testing.assert_allclose(constant(typed, f"{name}.scale"), peaks / 127, rtol=1e-3)
    assert correlation(outputs(model, photographs(2))[0], outputs(typed, photographs(2))[0]) > 0.999


# -----------------------------------------------------------------------------------------------------
# rule 2


def moved(kind: str) -> tuple[Network, str, list[str]]:
    """A network with an operator of that kind before its last convolution; members of the group it
    makes.
    """
    s = network(1)
    x = s.relu("image", (3, 8), 3, 2)
    if kind == "Concat":
        y = s.relu("image", (3, 8), 3, 2)
        z = s.op("Concat", x, y, axis=1)
        return s, s.conv(z, (16, 4)), [x, y, z]
    z = {
        "MaxPool": lambda: s.maxpool(x, 2, 2),
        "Resize": lambda: s.op("Resize", x, "", s.const([1, 1, 2, 2]), mode="nearest"),
        "Linear Resize": lambda: s.op("Resize", x, "", s.const([1, 1, 2, 2]), mode="linear"),
        "Slice": lambda: s.slice(x, 0, 16, 2),
        "Transpose": lambda: s.op("Transpose", x, perm=[0, 1, 3, 2]),
        "Reshape": lambda: s.op("Reshape", x, s.ints(-1, 8, 16, 64)),
        "SpaceToDepth": lambda: s.op(
            "Reshape", s.op("SpaceToDepth", x, blocksize=2), s.ints(-1, 8, 16, 64)
        ),
        "DepthToSpace": lambda: s.op(
            "Reshape", s.op("DepthToSpace", x, blocksize=2), s.ints(-1, 8, 16, 64)
        ),
    }[kind]()
    return s, s.conv(z, (8, 4)), [x, z]


KINDS = [
    "Concat",
    "MaxPool",
    "Resize",
    "Linear Resize",
    "Slice",
    "Transpose",
    "Reshape",
    "SpaceToDepth",
    "DepthToSpace",
]


@pytest.mark.parametrize("kind", KINDS)
def test_rule_2_one_scale_runs_through_operators_that_move_values(kind: str) -> None:
    s, output, members = moved(kind)
    model = fold(s.model(output))
    typed, placement = int8(model)
    group = next(found for found, _ in placement.groups if members[-1] in found)
    assert set(members) <= set(group)
    found = scales(typed)
    assert len({float(found[name]) for name in group}) == 1
    assert correlation(outputs(model, photographs(2))[0], outputs(typed, photographs(2))[0]) > 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_rule_2_observed_tensors_are_where_values_come_from(kind: str) -> None:
    s, output, members = moved(kind)
    _, sources = next(found for found in place(graph(s, output)).groups if members[-1] in found[0])
    assert set(sources) == set(members[:-1])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Linear Resize"])
def test_rule_2_a_second_rounding_changes_nothing(kind: str) -> None:
    """Quantizing behind the operator alone gives the same integers as before it and behind it."""
    s, output, members = moved(kind)
    model = fold(s.model(output))
    typed, placement = int8(model)
    amax = {name: float(scales(typed)[name]) * 127 for name in placement.tensors}
    lone = Placement(
        placement.operators,
        placement.groups,
        {n: r for n, r in placement.readers.items() if n in ("image", members[-1])},
    )
    single = model_of(quantize(graph_of(model), lone, amax))
    one, other = (outputs(m, photographs(1), fuse=False)[0] for m in (typed, single))
    # The convolution before it may differ in its last bit, which turns a value that lies between
    # two steps.
    assert np.mean(np.abs(one - other) > 1e-5) < 0.005


def test_rule_2_a_cubic_resize_does_not_share() -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3, 2)
    z = s.op("Resize", x, "", s.const([1, 1, 2, 2]), mode="cubic")
    placement = place(graph(s, s.conv(z, (8, 4))))
    assert (z,) in [members for members, _ in placement.groups]
    assert x not in placement.tensors


def test_rule_2_a_chain_is_one_group() -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3, 2)
    chain = [x]
    for _ in range(3):
        chain.append(s.maxpool(chain[-1], 5, 1))
    joined = s.op("Concat", *chain, axis=1)
    placement = place(graph(s, s.conv(joined, (32, 4))))
    assert [(set(members), found) for members, found in placement.groups] == [
        ({*chain, joined}, (x,))
    ]


def test_rule_2_a_concat_with_a_constant_does_not_share() -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3, 2)
    z = s.op("Concat", x, s.const(np.full((1, 8, 32, 32), 50.0)), axis=1)
    g = graph_of(fold(s.model(s.conv(z, (16, 4)), batch=1)))
    placement = place(g)
    assert (z,) in [members for members, _ in placement.groups]
    assert placement.observed == (z,)


def test_rule_2_tensors_of_different_origin_have_scales_of_their_own() -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3, 2)
    y = s.relu(x, (8, 8), 3)
    placement = place(graph(s, s.conv(y, (8, 4))))
    assert [members for members, _ in placement.groups] == [(x,), (y,)]


# -----------------------------------------------------------------------------------------------------
# rule 3


def test_rule_3_the_shortcut_of_a_residual_add_carries_a_pair() -> None:
    s = network(2)
    x = s.relu("image", (3, 8), 3, 2)
    branch = s.conv(s.relu(x, (8, 8), 3), (8, 8), 3)
    total = s.op("Add", branch, x)
    typed, placement = int8(fold(s.model(s.conv(s.op("Relu", total), (8, 4)))))
    add = next(node for node in typed.graph.node if node.op_type == "Add")
    assert quantized_inputs(typed, add.name) == [False, True]
    assert branch not in placement.tensors


def test_rule_3_of_two_convolutions_the_later_one_fuses() -> None:
    s = network(2)
    x = s.relu("image", (3, 8), 3, 2)
    short = s.conv(x, (8, 8))
    branch = s.conv(s.relu(x, (8, 8), 3), (8, 8), 3)
    total = s.op("Add", branch, short)
    typed, placement = int8(fold(s.model(s.conv(s.op("Relu", total), (8, 4)))))
    add = next(node for node in typed.graph.node if node.op_type == "Add")
    assert dict(zip(add.input, quantized_inputs(typed, add.name), strict=True))[branch] is False
    assert short in placement.tensors
    assert branch not in placement.tensors


def test_rule_3_two_convolutions_whose_sum_nothing_quantizes_stay_float() -> None:
    s = network(2)
    x = s.relu("image", (3, 8), 3, 2)
    total = s.op("Add", s.conv(x, (8, 8)), s.conv(x, (8, 8), 3))
    placement = place(graph(s, s.op("Sigmoid", total)))
    assert placement.tensors == (x,)


def test_rule_3_an_input_that_is_quantized_anyway_is_taken_quantized() -> None:
    s = network(2)
    x = s.silu("image", (3, 8), 3, 2)
    total = s.op("Add", s.silu(x, (8, 8), 3), x)
    typed, _ = int8(fold(s.model(s.op("Sigmoid", total))))
    add = next(node for node in typed.graph.node if node.op_type == "Add")
    assert quantized_inputs(typed, add.name) == [False, True]


def test_rule_3_a_convolution_with_two_readers_does_not_fuse() -> None:
    """Its output is needed in float anyway: the shortcut gets no pair for its sake."""
    s = network(2)
    x = s.op("Sigmoid", s.op("AveragePool", "image", kernel_shape=[2, 2], strides=[2, 2]))
    linear = s.conv("image", (3, 3), 3, 2)
    total = s.op("Add", linear, x)
    again = s.op("Mul", linear, s.op("Sigmoid", total))
    placement = place(graph(s, s.conv(total, (3, 4)), again))
    assert x not in placement.tensors


def test_rule_3_adds_of_constants_are_no_residuals() -> None:
    s = network(2)
    x = s.op("Add", s.conv("image", (3, 8), 3, 2), s.const(np.ones((1, 8, 1, 1))))
    placement = place(graph(s, s.conv(x, (8, 4))))
    assert placement.tensors == (x,)


# -----------------------------------------------------------------------------------------------------
# rule 4


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_4_what_reads_the_image_stays_float(build: Build) -> None:
    typed, placement = int8(fold(build()))
    assert "image" not in placement.tensors
    for node in typed.graph.node:
        if node.op_type == "Conv" and node.input[0] == "image":
            assert quantized_inputs(typed, node.name)[:2] == [False, False]


def test_rule_4_slices_of_the_image_are_the_image() -> None:
    """YOLOv5's Focus: four slices, joined."""
    s = network(4)
    parts = [s.slice("image", low, low + 2, 1) for low in (0, 1)]
    x = s.op("Relu", s.conv(s.op("Concat", *parts, axis=1), (4, 8), 3))
    placement = place(graph(s, s.conv(x, (8, 4))))
    assert placement.tensors == (x,)


# -----------------------------------------------------------------------------------------------------
# rule 5


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_5_biases_stay_float(build: Build) -> None:
    typed, placement = int8(fold(build()))
    for node in typed.graph.node:
        if node.name in placement.operators and len(node.input) > 2:
            assert constant(typed, node.input[2]).dtype == np.float32


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_5_outputs_of_the_last_learned_and_the_decode_stay_float(build: Build) -> None:
    g = graph_of(fold(build()))
    ends = {tensor.name for node in last_learned(g) for tensor in node.outputs}
    behind = {tensor.name for node in decode(g) for tensor in node.outputs}
    assert not (ends | behind) & set(place(g).tensors)


@pytest.mark.parametrize("build", BUILDERS)
def test_rule_4_activations_read_what_convolutions_write(build: Build) -> None:
    typed, _ = int8(fold(build()))
    for node in typed.graph.node:
        if node.op_type in ("LeakyRelu", "Relu", "Sigmoid"):
            assert quantized_inputs(typed, node.name) == [False]


# ------------------------------------------------------------------------------------------------------
# results


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("fuse", [True, False])
def test_int8_runs_and_correlates_with_float(build: Build, batch: int, fuse: bool) -> None:
    model = fold(build())
    typed, _ = int8(model)
    onnx.checker.check_model(typed)
    images = photographs(batch, seed=90)
    for one, other in zip(outputs(model, images), outputs(typed, images, fuse), strict=True):
        assert one.shape == other.shape
        assert correlation(one, other) > 0.99


@pytest.mark.parametrize("build", BUILDERS)
def test_groups_partition_the_tensors(build: Build) -> None:
    placement = place(graph_of(fold(build())))
    assert len(placement.tensors) == len(set(placement.tensors))
    assert set(placement.tensors) == set(placement.readers)
    for members, sources in placement.groups:
        assert sources
        assert set(sources) <= set(members)


@pytest.mark.parametrize("build", BUILDERS)
def test_one_pair_a_tensor(build: Build) -> None:
    typed, placement = int8(fold(build()))
    made = [node.input[0] for node in typed.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(made) == sorted(placement.tensors)


def test_shared_groups_in_whole_networks() -> None:
    groups = place(graph_of(fold(yolov8_like()))).groups
    assert max(len(members) for members, _ in groups) >= 5  # SPPF: four pools and their concat
    assert len(groups) < len([name for members, _ in groups for name in members])


def test_the_order_of_results_is_the_graphs() -> None:
    assert place(graph_of(fold(yolov8_like()))) == place(graph_of(fold(yolov8_like())))


# ---------------------------------------------------------------------------------------------------------
# keep


def test_kept_operators_stay_float() -> None:
    model = fold(classifier())
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    typed, placement = int8(model, keep=(first,))
    assert first not in placement.operators
    assert not any(quantized_inputs(typed, first))
    assert "image" not in placement.tensors


def test_keep_patterns_are_shell_patterns() -> None:
    g = graph_of(fold(classifier()))
    for number, node in enumerate(g.nodes):
        node.name = f"block{number // 8}/{node.op}{number}"
    assert {name.split("/")[0] for name in place(g, ("block0/*",)).operators} == {"block1"}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ForgeError, match="'nothing/\\*' matches no convolution"):
        place(graph_of(fold(classifier())), ("nothing/*",))


def test_a_pattern_that_matches_no_learned_operator_is_refused() -> None:
    g = graph_of(fold(classifier()))
    pooling = next(node.name for node in g.nodes if node.op == "MaxPool")
    with pytest.raises(ForgeError, match="matches no convolution"):
        place(g, (pooling,))


def test_keeping_everything_leaves_nothing_to_quantize() -> None:
    with pytest.raises(ForgeError, match="no convolution or matrix product to quantize"):
        place(graph_of(fold(classifier())), ("*",))


def test_a_model_without_learned_operators_is_refused() -> None:
    s = network(0)
    with pytest.raises(ForgeError, match="no convolution or matrix product to quantize"):
        place(graph(s, s.op("Relu", "image")))


# -------------------------------------------------------------------------------------------------------
# ranges


def test_missing_ranges_are_counted_and_the_first_is_named() -> None:
    g = graph_of(fold(classifier()))
    placement = place(g)
    amax = dict.fromkeys(placement.tensors[2:], 1.0)
    with pytest.raises(
        ForgeError, match=f"no range for 2 tensors, the first is {placement.tensors[0]!r}"
    ):
        quantize(g, placement, amax)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_ranges_that_are_no_magnitude_are_refused(bad: float) -> None:
    g = graph_of(fold(classifier()))
    placement = place(g)
    with pytest.raises(ForgeError, match=repr(placement.tensors[1])):
        quantize(g, placement, dict.fromkeys(placement.tensors, 1.0) | {placement.tensors[1]: bad})


def test_a_tensor_that_was_always_zero_stays_zero() -> None:
    s = network(3)
    dead = s.op("Relu", s.conv("image", (3, 8), 3, 2, bias=-1000))
    model = fold(s.model(s.conv(dead, (8, 4))))
    typed, _ = int8(model)
    assert float(scales(typed)[dead]) == SMALLEST_SCALE
    np.testing.assert_allclose(
        outputs(typed, photographs(1))[0], outputs(model, photographs(1))[0], atol=1e-5
    )


def test_channels_whose_weights_are_zero() -> None:
    s = network(3)
    weights = s.rng.normal(0, 1, (4, 3, 1, 1))
    weights[1] = 0
    model = fold(
        s.model(s.op("Conv", s.op("Relu", "image"), s.const(weights), kernel_shape=[1, 1]))
    )
    typed, placement = int8(model)
    scale = constant(typed, f"{placement.operators[0]}.weights.scale")
    assert (scale > 0).all()
    assert not outputs(typed, photographs(1))[0][:, 1].any()


# -------------------------------------------------------------------------------------------------------
# scales


@pytest.mark.parametrize("scale", [1 / 127, 1e-3, 0.1, 1.0, 3.3, 77.7, 1e4, 6e-8, 1e-5, 65504.0])
def test_fp16_scale_is_the_next_half_that_is_not_less(scale: float) -> None:
    found = fp16_scale(scale)
    half = np.float16(found)
    assert float(half) == found
    assert found >= scale
    assert float(np.nextafter(half, np.float16(0))) < scale


@pytest.mark.parametrize("scale", np.random.default_rng(0).lognormal(-4, 4, 50).tolist())
def test_fp16_scale_is_consistent_with_itself(scale: float) -> None:
    assert fp16_scale(fp16_scale(scale)) == fp16_scale(scale)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 2.0**-25])
def test_fp16_scale_is_never_zero(scale: float) -> None:
    assert fp16_scale(scale) == SMALLEST_SCALE


@pytest.mark.parametrize("scale", [65505.0, 1e6, 1e30])
def test_fp16_scale_beyond_half_stays(scale: float) -> None:
    assert fp16_scale(scale) == scale


def test_every_scale_in_a_graph_is_a_half() -> None:
    typed, _ = int8(fold(yolov8_like()))
    for scale in (*scales(typed).values(), *scales(typed, "DequantizeLinear").values()):
        np.testing.assert_array_equal(scale.astype(np.float16).astype(np.float32), scale)


# ------------------------------------------------------------------------------------------------
# FP8, and only


def test_fp8_keeps_more_of_small_values_and_less_of_large_ones() -> None:
    assert FP8.stored(np.array([1.0, -448.0, 1e9, 0.02])).astype(
        np.float32
    ).tolist() == pytest.approx([1.0, -448.0, 448.0, 0.02], rel=0.07)
    assert INT8.stored(np.array([1.4, -127.9, 1e9, 0.5, 1.5])).tolist() == [1, -127, 127, 0, 2]


def test_fp8_graph_runs_and_correlates() -> None:
    model = fold(yolov8_like())
    graph = graph_of(model)
    placement = place(graph)
    quantize(graph, placement, dict.fromkeys(placement.tensors, 8.0), FP8)
    again = graph_of(model_of(graph))  # graphsurgeon reads FP8 back
    images = photographs(2)
    found = outputs(model_of(again), images, fuse=False)
    assert all(
        correlation(one, other) > 0.98
        for one, other in zip(outputs(model, images), found, strict=True)
    )
    types = {np.dtype(node.outputs[0].dtype) for node in again.nodes if node.op == "QuantizeLinear"}
    assert types == {FP8.dtype}


def test_only_what_is_named_is_quantized() -> None:
    graph = graph_of(fold(yolov7_like()))
    names = place(graph).operators
    assert place(graph, only=(names[1], names[3])).operators == (names[1], names[3])
    assert place(graph, keep=(names[3],), only=(names[1], names[3])).operators == (names[1],)


def test_only_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ForgeError, match="pattern 'nothing' matches no convolution"):
        place(graph_of(fold(yolov7_like())), only=("nothing",))


# --------------------------------------------------------------------------------------------------
# names


@pytest.mark.parametrize("suffix", ["scale", "zero_point", "int8", "dequantized"])
def test_names_that_the_model_has_are_not_given_again(suffix: str) -> None:
    """A tensor called like the scale of another stays what it was."""
    model = fold(yolov7_like())
    _, placement = int8(model)
    rewritten = graph_of(model)
    tensor = placement.tensors[0]
    other = next(t for t in rewritten.tensors().values() if isinstance(t, gs.Constant))
    values = other.values.copy()
    other.name = f"{tensor}.{suffix}"
    quantized = quantize(rewritten, placement, dict.fromkeys(placement.tensors, 4.0))
    made = [t.name for node in quantized.nodes for t in node.outputs]
    assert len(set(made)) == len(made)
    assert f"{tensor}.{suffix}" not in made
    written = model_of(quantized)
    onnx.checker.check_model(written)
    names = [constant.name for constant in written.graph.initializer]
    assert len(set(names)) == len(names)
    if other.outputs:
        np.testing.assert_array_equal(constant(written, other.name), values)
