"""Layers from TensorRT-RTX's log and from the EngineInspector's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trtforge.report.layers import bytes_crossing, int8_convolutions, parse


def tensor(name: str, dims: str, dtype: str) -> str:
    return f"{{ Name: {name}, Dimensions: [{dims}], Datatype: {dtype} }}"


def row(
    name: str = "conv1",
    kind: str = "kgen",
    inputs: str = tensor("image", "1,3,64,64", "Float"),
    constants: str = "",
    outputs: str = tensor("y", "1,8,32,32", "Half"),
    tactic: str = "fused_kernel_0",
    metadata: str = "[ONNX Layer: conv1]",
) -> str:
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [{inputs}], Constants: [{constants}], Outputs: [{outputs}], "
        f"TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    )


def one(text: str) -> dict[str, Any]:
    (layer,) = parse(text)
    return layer


def test_a_row() -> None:
    assert one(row()) == {
        "name": "conv1",
        "type": "kgen",
        "nodes": ["conv1"],
        "inputs": [{"name": "image", "dims": [1, 3, 64, 64], "dtype": "Float"}],
        "outputs": [{"name": "y", "dims": [1, 8, 32, 32], "dtype": "Half"}],
        "constants": [],
        "tactic": "fused_kernel_0",
    }


@pytest.mark.parametrize("separator", ["", "\x1e", "\x1f"])
def test_fused_nodes(separator: str) -> None:
    nodes = separator.join(f"[ONNX Layer: {name}]" for name in ("b", "a", "b"))
    assert one(row(metadata=nodes))["nodes"] == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["/model/0/conv/Conv", "a b", "a:b", "a[0]", "a'", "a, b", "узел", "a.weights.dequantize"]
)
def test_odd_names_of_nodes(name: str) -> None:
    assert one(row(metadata=f"[ONNX Layer: {name}]\x1f[ONNX Layer: z]"))["nodes"] == sorted([name, "z"])


@pytest.mark.parametrize("name", ["a + b", "{ForeignNode[a...b]}", "Reformatting CopyNode for a, part 1", "(Unnamed)"])
def test_odd_names_of_layers(name: str) -> None:
    assert one(row(name=name))["name"] == name


def test_several_tensors() -> None:
    inputs = ", ".join([tensor("a", "1,2", "Int8"), tensor("b[0]", "", "Float"), tensor("c", "-1,4", "Half")])
    found = one(row(inputs=inputs))["inputs"]
    assert [(t["name"], t["dims"], t["dtype"]) for t in found] == [
        ("a", [1, 2], "Int8"), ("b[0]", [], "Float"), ("c", [-1, 4], "Half"),
    ]  # fmt: skip


def test_strides_between_dimensions_and_type() -> None:
    text = "{ Name: a, Dimensions: [1,8,4,4], Strides: [128,1,32,8], StrideOrder: [3,0,2,1], Datatype: Int8 }"
    assert one(row(inputs=text))["inputs"] == [{"name": "a", "dims": [1, 8, 4, 4], "dtype": "Int8"}]


def test_constants() -> None:
    assert one(row(constants=tensor("w", "8,3,3,3", "Int8")))["constants"][0]["name"] == "w"


@pytest.mark.parametrize("kind", ["kgen", "correlation", "something_new", ""])
def test_unknown_layer_types_pass(kind: str) -> None:
    assert one(row(kind=kind))["type"] == kind


def test_nothing_in_and_nothing_out() -> None:
    layer = one(row(inputs="", outputs="", metadata=""))
    assert (layer["inputs"], layer["outputs"], layer["nodes"]) == ([], [], [])


def test_other_lines_of_the_log_are_passed_over() -> None:
    text = "\n".join(["Layers:", "", row(), "Name: something else", "Bindings:", row(name="conv2"), "image"])
    assert [layer["name"] for layer in parse(text)] == ["conv1", "conv2"]


@pytest.mark.parametrize("text", ["", "\n", "no layers here"])
def test_no_rows(text: str) -> None:
    assert parse(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Name: a, LayerType: kgen",
        "Name: a, LayerType: kgen, Inputs: [], Outputs: []",
        row().replace("Metadata", "Meta"),
        row().replace("TacticName", "Tactic"),
    ],
)
def test_a_row_of_a_new_form_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="new form: Name: "):
        parse(text)


def test_a_tensor_of_a_new_form_is_an_error() -> None:
    """It would be missing from every count."""
    with pytest.raises(ValueError, match="new form"):
        parse(row(inputs="{ Name: a, Shape: [1,2], Datatype: Int8 }"))


# ---------------------------------------------------------------------------------------------------- inspector


def test_inspector_json() -> None:
    wide = "Thirty-two wide channel vectorized row major Int8 format"
    layer = {
        "Name": "a + b",
        "LayerType": "CaskConvolution",
        "TacticName": "sm80_xmma",
        "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]",
        "Inputs": [{"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": wide}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 8, 8, 8], "Datatype": "FP16", "Format": "Row major"}],
    }
    assert one(json.dumps({"Layers": [layer], "Bindings": ["x", "y"]})) == {
        "name": "a + b",
        "type": "CaskConvolution",
        "nodes": ["a", "b"],
        "inputs": [{"name": "x", "dims": [1, 3, 8, 8], "dtype": "Int8"}],
        "outputs": [{"name": "y", "dims": [1, 8, 8, 8], "dtype": "Half"}],
        "constants": [],
        "tactic": "sm80_xmma",
    }


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Row major linear FP32", "Float"), ("Two wide channel vectorized row major FP16 format", "Half"),
        ("Four wide channel vectorized row major Int8 format", "Int8"), ("FP32 NCHW", "Float"), ("INT8", "Int8"),
        ("Int32", "Int32"), ("Int64", "Int64"), ("Bool", "Bool"), ("", "unknown"), ("BFloat16", "BFloat16"),
    ],
)  # fmt: skip
def test_datatypes(text: str, want: str) -> None:
    layer = {"Name": "a", "Inputs": [{"Name": "x", "Dimensions": [1], "Format/Datatype": text}]}
    assert one(json.dumps({"Layers": [layer]}))["inputs"][0]["dtype"] == want


def test_names_alone_with_less_verbosity() -> None:
    assert [layer["name"] for layer in parse(json.dumps({"Layers": ["a", "b"]}))] == ["a", "b"]


def test_a_layer_without_keys() -> None:
    assert one(json.dumps({"Layers": [{}]}))["inputs"] == []


# ------------------------------------------------------------------------------------------------------- figures


def layer(nodes: list[str], inputs: list[str], outputs: list[tuple[list[int], str]]) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "inputs": [{"name": "x", "dims": [1], "dtype": dtype} for dtype in inputs],
        "outputs": [{"name": "y", "dims": dims, "dtype": dtype} for dims, dtype in outputs],
    }


def test_int8_convolutions_are_those_with_int8_inputs() -> None:
    layers = [layer(["a", "relu"], ["Int8"], []), layer(["b"], ["Half"], []), layer(["c"], ["Half", "Int8"], [])]
    assert int8_convolutions(layers, ["c", "b", "a", "gone"]) == ["c", "a"]


def test_bytes_crossing() -> None:
    layers = [
        layer([], [], [([1, 8, 4, 4], "Half"), ([1, 8], "Float")]),
        layer([], [], [([1, 8, 4, 4], "Half"), ([], "Int8"), ([3, 3], "Unheard")]),
    ]
    assert bytes_crossing(layers) == {"Half": 2 * 2 * 128, "Float": 32, "Int8": 1, "Unheard": 36}
