"""Layers out of TensorRT-RTX's build log."""

from __future__ import annotations

import pytest

from tests.unit.reporting.rows import log, row, tensor
from trtforge.reporting.model import UNREADABLE, Layer
from trtforge.reporting.rtx_log import is_log, parse


def one(text: str) -> Layer:
    (layer,) = parse(log(text))
    return layer


def test_a_row() -> None:
    layer = one(row())
    assert (layer.name, layer.type, layer.nodes, layer.tactic) == (
        "conv1",
        "kgen",
        ["conv1"],
        "fused_kernel_0",
    )
    assert [(t.name, t.dims, t.dtype, t.format) for t in layer.inputs] == [
        ("image", [1, 3, 64, 64], "Float", "(NHWC) C")
    ]
    assert [(t.name, t.dims, t.dtype) for t in layer.outputs] == [("y", [1, 8, 32, 32], "Half")]
    assert layer.constants == []


@pytest.mark.parametrize("separator", ["", "\x1e", "\x1f"])
def test_fused_nodes(separator: str) -> None:
    nodes = separator.join(f"[ONNX Layer: {name}]" for name in ("b", "a", "b"))
    assert one(row(metadata=nodes))
    assert one(row(metadata=nodes)).nodes == ["a", "b"]


def test_words_behind_a_node() -> None:
    """Without them, 1x1 convolutions that became matrix products would be in no layer."""
    assert one(row(metadata="[ONNX Layer: a]__gemm_from_conv1x1\x1f[ONNX Layer: b]")).nodes == [
        "a",
        "b",
    ]
    assert one(row(metadata="[ONNX Layer: a]__gemm_from_conv1x1")).nodes == ["a"]


ODD = [
    "/model/0/conv/Conv",
    "a b",
    "a:b",
    "a[0]",
    "a[0][1]",
    "a'",
    "a, b",
    "узел",
    "x" * 10_000,
    "<script>",
    "line\nend",
    "\nName: b, LayerType: kgen",
    "{ Name: x, Dimensions: [1] }",
    "x], Constants: [",
    "[ONNX Layer: fake",
    "a + b",
    ", Outputs: [",
    "",
    " ",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_nodes(name: str) -> None:
    layers = parse(log(row(metadata=f"[ONNX Layer: {name}]\x1f[ONNX Layer: z]"), row(name="next")))
    assert [layer.nodes for layer in layers] == [sorted([name, "z"]), ["conv1"]]


@pytest.mark.parametrize(
    "name", [*ODD, "{ForeignNode[a...b]}", "Reformatting CopyNode for a, part 1", "(Unnamed)"]
)
def test_odd_names_of_layers_and_tensors(name: str) -> None:
    layers = parse(log(row(name=name, inputs=tensor(name, "1,2", "Int8")), row(name="next")))
    assert [layer.name for layer in layers] == [name, "next"]
    assert [(t.name, t.dims, t.dtype) for t in layers[0].inputs] == [(name, [1, 2], "Int8")]


def test_several_tensors() -> None:
    inputs = ", ".join(
        [tensor("a", "1,2", "Int8"), tensor("b[0]", "", "Float"), tensor("c", "-1,4", "Half")]
    )
    assert [(t.name, t.dims, t.dtype) for t in one(row(inputs=inputs)).inputs] == [
        ("a", [1, 2], "Int8"),
        ("b[0]", [], "Float"),
        ("c", [-1, 4], "Half"),
    ]


@pytest.mark.parametrize("kind", ["kgen", "correlation", "something_new", ""])
def test_unknown_layer_types_pass(kind: str) -> None:
    assert one(row(kind=kind)).type == kind


def test_an_event_and_nothing_in_and_out() -> None:
    text = row(inputs="", outputs="", tactic="", metadata="", kind="signal").replace(
        "StreamId: 0", "StreamId: 0, EventId: 3"
    )
    layer = one(text)
    assert (layer.inputs, layer.outputs, layer.nodes) == ([], [], [])


def test_lines_around_the_list_are_passed_over() -> None:
    text = (
        f"Name: something else\n[V] [TRT] Layers:\n{row()}\n{row(name='conv2')}\n\nBindings:\nimage"
    )
    assert [layer.name for layer in parse(text)] == ["conv1", "conv2"]


@pytest.mark.parametrize("text", ["", "\n", "no layers here"])
def test_no_rows(text: str) -> None:
    assert parse(text) == []
    assert not is_log(text)


@pytest.mark.parametrize(
    "bad",
    [
        row().replace("Metadata", "Meta"),
        row().replace("TacticName", "Tactic"),
        row(inputs="{ Name: a, Shape: [1,2], Datatype: Int8 }"),
        row(outputs="something"),
    ],
)
def test_a_row_of_a_new_form_is_shown_and_stops_nothing(bad: str) -> None:
    layers = parse(log(row(), bad, row(name="next")))
    assert [layer.type for layer in layers] == ["kgen", UNREADABLE, "kgen"]
    assert "Name: conv1" in layers[1].name


def test_a_long_forged_name_takes_no_time() -> None:
    name = ", Dimensions: [1" * 5_000
    assert one(row(inputs=tensor(name, "1,2", "Int8"))).inputs[0].name == name
