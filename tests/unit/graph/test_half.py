"""FP16 by the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto

from tests.models import (
    SIDE,
    Sketch,
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
from trtforge.graph.heads import decode, learned
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import MOVES, to_half
from trtforge.graph.quantize.qdq import place, quantize, widen

BUILDERS = [yolov7_like, yolov8_like, classifier]
Build = Callable[..., onnx.ModelProto]


def half(model: onnx.ModelProto, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    typed = model_of(to_half(graph_of(model), keep))
    onnx.checker.check_model(typed, full_check=True)
    return typed


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor."""
    found = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def input_types(model: onnx.ModelProto, op: str) -> list[list[int]]:
    known = types(model)
    return [
        [known[name] for name in node.input if name]
        for node in model.graph.node
        if node.op_type == op
    ]


def close(
    model: onnx.ModelProto, typed: onnx.ModelProto, least: float = 0.9999, batch: int = 3
) -> None:
    images = photographs(batch, seed=60)
    for one, other in zip(outputs(model, images), outputs(typed, images, fuse=False), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert correlation(one, other) > least


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_half_runs_and_correlates_with_float(build: Build, batch: int) -> None:
    model = fold(build())
    close(model, half(model), batch=batch)


@pytest.mark.parametrize("build", BUILDERS)
def test_inputs_and_outputs_stay_float32(build: Build) -> None:
    typed = half(fold(build()))
    assert [v.type.tensor_type.elem_type for v in (*typed.graph.input, *typed.graph.output)] == [
        TensorProto.FLOAT
    ] * 2
    assert [v.name for v in typed.graph.output] == [v.name for v in build().graph.output]


@pytest.mark.parametrize("build", BUILDERS)
def test_learned_operators_are_half(build: Build) -> None:
    model = fold(build())
    typed = half(model)
    names, known = {node.name for node in learned(graph_of(model))}, types(typed)
    for node in typed.graph.node:
        if node.name in names:
            assert {known[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("build", [yolov7_like, yolov8_like])
def test_the_decode_stays_float32(build: Build) -> None:
    model = fold(build())
    typed = half(model)
    names, known = {node.name for node in decode(graph_of(model))}, types(typed)
    for node in typed.graph.node:
        if node.name in names and node.op_type not in MOVES:
            assert TensorProto.FLOAT16 not in {known[name] for name in (*node.input, *node.output)}


def test_what_moves_the_heads_outputs_moves_them_in_half() -> None:
    """A Concat of two heads and a Reshape behind it; what computes, and what moves that, stays
    FP32.
    """
    s = network(1)
    x = s.relu("image", (3, 8), 3)
    rows = s.op(
        "Reshape", s.op("Concat", s.conv(x, (8, 4)), s.conv(x, (8, 6)), axis=1), s.ints(0, 10, -1)
    )
    scores = s.op("Sigmoid", rows)
    model = fold(s.model(s.op("Transpose", scores, perm=[0, 2, 1])))
    known, ops = (
        types(typed := half(model)),
        {node.output[0]: node.op_type for node in typed.graph.node},
    )
    found = {
        ops[name]: known[name]
        for name in ops
        if ops[name] in ("Concat", "Reshape", "Sigmoid", "Transpose")
    }
    assert found == {
        "Concat": TensorProto.FLOAT16,
        "Reshape": TensorProto.FLOAT16,
        "Sigmoid": TensorProto.FLOAT,
        "Transpose": TensorProto.FLOAT,
    }
    # One Cast is at the image, and one before the Sigmoid.
    assert sum(node.op_type == "Cast" for node in typed.graph.node) == 2
    images = photographs(2)
    for one, other in zip(outputs(model, images), outputs(typed, images), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("build", BUILDERS)
def test_no_cast_follows_a_cast(build: Build) -> None:
    typed = half(fold(build()))
    cast = {node.output[0] for node in typed.graph.node if node.op_type == "Cast"}
    assert not [
        node.name for node in typed.graph.node if node.op_type == "Cast" and node.input[0] in cast
    ]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_tensor_is_cast_once(build: Build) -> None:
    typed = half(fold(build()))
    read = [node.input[0] for node in typed.graph.node if node.op_type == "Cast"]
    assert len(read) == len(set(read))


@pytest.mark.parametrize("build", BUILDERS)
def test_every_name_is_unique(build: Build) -> None:
    typed = half(fold(build()))
    names = [node.name for node in typed.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("build", BUILDERS)
def test_weights_take_half_the_bytes(build: Build) -> None:
    model = fold(build())
    learned_bytes = sum(node.inputs[1].values.nbytes for node in learned(graph_of(model)))
    assert half(model).ByteSize() < model.ByteSize() - 0.4 * learned_bytes


# -------------------------------------------------------------------------------------------- what
# stays FP32


def test_kept_nodes_stay_float32() -> None:
    model = fold(classifier())
    name = next(node.name for node in model.graph.node if node.op_type == "Gemm")
    typed = half(model, keep=(name,))
    assert input_types(typed, "Gemm") == [[TensorProto.FLOAT] * 3]
    close(model, typed)


def test_keeping_everything_casts_nothing() -> None:
    typed = half(fold(classifier()), keep=("*",))
    assert TensorProto.FLOAT16 not in types(typed).values()
    assert not any(node.op_type == "Cast" for node in typed.graph.node)


@pytest.mark.parametrize("value", [1e5, -1e5, 65520.0])
def test_constants_beyond_the_range_keep_their_operator(value: float) -> None:
    s = network(4)
    x = s.op("Mul", s.relu("image", (3, 8), 3, 2), s.const(value))
    model = fold(s.model(s.conv(s.op("Mul", x, s.const(1 / value)), (8, 4))))
    typed = half(model)
    assert [TensorProto.FLOAT, TensorProto.FLOAT] in input_types(typed, "Mul")
    assert {kind for kinds in input_types(typed, "Conv") for kind in kinds} == {TensorProto.FLOAT16}
    close(model, typed)


@pytest.mark.parametrize("value", [65504.0, np.inf, -np.inf])
def test_constants_that_half_can_hold_do_not(value: float) -> None:
    s = network(4)
    x = s.op("Min", s.relu("image", (3, 8), 3, 2), s.const(value))
    typed = half(fold(s.model(s.conv(x, (8, 4)))))
    assert input_types(typed, "Min") == [[TensorProto.FLOAT16] * 2]


@pytest.mark.parametrize("op", ["Exp", "Softplus"])
def test_operators_that_overflow_stay_float32(op: str) -> None:
    s = network(4)
    x = s.op(op, s.conv("image", (3, 8), 3, 2))
    model = fold(s.model(s.conv(x, (8, 4))))
    typed = half(model)
    assert input_types(typed, op) == [[TensorProto.FLOAT]]
    close(model, typed)


def test_sums_stay_float32() -> None:
    s = network(4)
    x = s.relu("image", (3, 8), 3, 2)
    total = s.op("ReduceSum", x, s.ints(2, 3), keepdims=1)
    model = fold(s.model(s.conv(s.op("Div", x, total), (8, 4))))
    typed = half(model)
    assert input_types(typed, "ReduceSum") == [[TensorProto.FLOAT, TensorProto.INT64]]
    close(model, typed)


def test_an_operator_of_another_domain_stays_float32() -> None:
    s = network(4)
    x = s.relu("image", (3, 8), 3, 2)
    s.nodes.append(onnx.helper.make_node("Gelu", [x], ["made"], "gelu", domain="com.microsoft"))
    model = Sketch.model(s, s.conv("made", (8, 4)))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    graph = graph_of(model)
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Variable) and tensor.dtype is None:
            tensor.dtype = np.dtype(np.float32)
    typed = model_of(to_half(graph))
    gelu = next(node for node in typed.graph.node if node.op_type == "Gelu")
    assert gelu.input[0].endswith("fp32")
    close(model, typed)


def test_a_float_constant_shared_by_half_and_full_readers() -> None:
    s = network(4)
    shared = s.const(np.full((1, 8, 1, 1), 0.5))
    x = s.op("Mul", s.relu("image", (3, 8), 3, 2), shared)
    end = s.conv(x, (8, 8))
    model = fold(s.model(s.op("Mul", s.op("Sigmoid", end), shared)))
    typed = half(model)
    assert sorted(kinds[1] for kinds in input_types(typed, "Mul")) == [
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
    ]
    close(model, typed)


def test_a_sizes_input_of_resize_stays_as_it_is() -> None:
    s = network(4)
    x = s.op("Resize", s.relu("image", (3, 8), 3, 2), "", s.const([1, 1, 2, 2]), mode="nearest")
    model = fold(s.model(s.conv(x, (8, 4))))
    typed = half(model)
    assert input_types(typed, "Resize") == [[TensorProto.FLOAT16, TensorProto.FLOAT]]
    close(model, typed)


# ------------------------------------------------------------------------------------------------------
# outputs


def test_an_output_that_a_half_operator_makes_is_cast_back() -> None:
    s = network(4)
    features = s.relu("image", (3, 8), 3, 2)
    model = fold(s.model(features, s.conv(features, (8, 4))))
    typed = half(model)
    assert [types(typed)[value.name] for value in typed.graph.output] == [TensorProto.FLOAT] * 2
    made = {output: node.op_type for node in typed.graph.node for output in node.output}
    assert [made[value.name] for value in typed.graph.output] == ["Cast", "Cast"]
    assert {kind for kinds in input_types(typed, "Conv") for kind in kinds} == {TensorProto.FLOAT16}
    close(model, typed)


def test_an_output_that_full_readers_read_too() -> None:
    s = network(4)
    end = s.conv(s.relu("image", (3, 8), 3, 2), (8, 4))
    model = fold(s.model(end, s.op("Sigmoid", end)))
    typed = half(model)
    assert {kind for kinds in input_types(typed, "Sigmoid") for kind in kinds} == {
        TensorProto.FLOAT
    }
    close(model, typed)


def test_an_output_that_is_half_already_stays_half() -> None:
    s = network(4)
    model = Sketch.model(s, s.op("Cast", s.conv("image", (3, 4)), to=TensorProto.FLOAT16))
    made = onnx.helper.make_tensor_value_info(
        model.graph.output[0].name, TensorProto.FLOAT16, ["batch", 4, SIDE, SIDE]
    )
    model.graph.output[0].CopyFrom(made)
    typed = half(fold(model))
    assert types(typed)[typed.graph.output[0].name] == TensorProto.FLOAT16
    close(fold(model), typed)


def test_a_cast_to_float_inside_the_learned_part_becomes_one_to_half() -> None:
    s = network(4)
    count = s.op("Cast", s.op("Shape", "image"), to=TensorProto.FLOAT)
    side = s.op("Gather", count, s.const(0, np.int64))
    model = fold(s.model(s.conv(s.op("Div", s.relu("image", (3, 8), 3, 2), side), (8, 4))))
    typed = half(model)
    assert input_types(typed, "Div") == [[TensorProto.FLOAT16] * 2]
    close(model, typed)


def test_names_that_the_casts_would_take_may_be_taken() -> None:
    s = network(4)
    x = s.relu("image", (3, 8), 3, 2)
    model = fold(s.model(s.conv(x, (8, 4))))
    for node in model.graph.node:
        node.input[:] = [f"{name}.fp16" if name == x else name for name in node.input]
        node.output[:] = [f"{name}.fp16" if name == x else name for name in node.output]
    del model.graph.value_info[:]
    model = fold(model)
    close(model, half(model))


# -----------------------------------------------------------------------------------------------------
# refusals


def test_subgraphs_are_refused() -> None:
    s = network(4)
    x = s.conv("image", (3, 4))
    branches = {}
    for name in ("then_branch", "else_branch"):
        value = onnx.helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None)
        node = onnx.helper.make_node("Identity", [x], [f"{name}.out"], name)
        branches[name] = onnx.helper.make_graph([node], name, [], [value])
    chosen = s.op("If", s.const(True, np.bool_), **branches)
    with pytest.raises(ForgeError, match=r"\(If\) holds a subgraph"):
        to_half(graph_of(s.model(chosen)))


# ---------------------------------------------------------------------------------------------------------
# Q/DQ


@pytest.mark.parametrize("build", BUILDERS)
def test_quantized_graphs_are_cast_too(build: Build) -> None:
    model = fold(build())
    graph = graph_of(model)
    placement = place(graph)
    float_outputs = dict.fromkeys(placement.tensors, 4.0) | {"image": 1.0}
    quantized = model_of(quantize(graph, placement, float_outputs))
    typed = half(quantized)
    close(quantized, typed, least=0.995)  # values between two INT8 steps may round either way
    known = types(typed)
    for node in typed.graph.node:
        if node.op_type == "DequantizeLinear":
            assert known[node.input[0]] == TensorProto.INT8
            assert known[node.input[1]] == known[node.output[0]]
        if node.op_type == "QuantizeLinear":
            assert known[node.input[0]] == known[node.input[1]]


def test_a_cast_graph_dequantizes_to_half() -> None:
    graph = graph_of(fold(classifier()))
    placement = place(graph)
    typed = half(model_of(quantize(graph, placement, dict.fromkeys(placement.tensors, 4.0))))
    known = types(typed)
    made = [
        known[node.output[0]] for node in typed.graph.node if node.op_type == "DequantizeLinear"
    ]
    assert set(made) == {TensorProto.FLOAT16}


def test_a_scale_beyond_half_keeps_its_operators_float32() -> None:
    graph = graph_of(fold(classifier()))
    placement = place(graph)
    amax = dict.fromkeys(placement.tensors, 4.0) | {placement.tensors[-1]: 1e8}
    typed = half(model_of(quantize(graph, placement, amax)))
    known = types(typed)
    scales = [node.input[1] for node in typed.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(known[scale] for scale in scales)[:2] == [TensorProto.FLOAT, TensorProto.FLOAT16]
    assert np.isfinite(outputs(typed, photographs(1), fuse=False)[0]).all()


@pytest.mark.parametrize("build", [yolov7_like, classifier])
def test_widened_pairs_hold_no_half_scale_and_say_the_same(build: Build) -> None:
    graph = graph_of(fold(build()))
    placement = place(graph)
    quantized = model_of(quantize(graph, placement, dict.fromkeys(placement.tensors, 4.0)))
    wide = model_of(widen(graph_of(half(quantized))))
    known = types(wide)
    scales = [
        node.input[1]
        for node in wide.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    assert {known[name] for name in scales} == {TensorProto.FLOAT}
    close(quantized, wide, least=0.995)
