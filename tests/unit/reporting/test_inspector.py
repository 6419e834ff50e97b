"""Layers out of the EngineInspector's JSON, and times out of the profiler's."""

from __future__ import annotations

import json

import pytest

from tests.unit.reporting.rows import layer
from trtforge.errors import ForgeError
from trtforge.reporting.inspector import datatype, members, parse, profile, with_times
from trtforge.reporting.model import UNREADABLE, Layer

WIDE = "Thirty-two wide channel vectorized row major Int8 format"
CONVOLUTION = {  # as TensorRT 8.4 writes it
    "Name": "w + QuantizeLinear_7 + Conv_9 + PWN(Clip_13)", "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [2, 3, 8, 8], "Format/Datatype": WIDE}],
    "Outputs": [{"Name": "y", "Dimensions": [2, 16, 4, 4], "Format/Datatype": "Row major linear FP16 format"}],
    "ParameterType": "Convolution", "Kernel": [3, 3], "OutMaps": 16, "Groups": 1,
    "Weights": {"Type": "Int8", "Count": 432}, "Bias": {"Type": "Float", "Count": 16}, "TacticName": "sm80_xmma",
}  # fmt: skip
NEWER = {  # as TensorRT 10 and 11 write it
    "Name": "__myl_Fc_myl0_3", "LayerType": "kgen", "TacticName": "t", "StreamId": 0,
    "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]",
    "Inputs": [{"Name": "x", "Dimensions": [1, 4], "Datatype": "Half", "Format": "Row major", "Strides": [4, 1]}],
    "Constants": [{"Name": "w", "Dimensions": [4, 4], "Datatype": "Half", "Format": "Row major"}], "Outputs": [],
}  # fmt: skip


def layers_of(*rows: object) -> list[Layer]:
    return parse(json.dumps({"Layers": list(rows), "Bindings": ["x", "y"]}), "file")


def test_an_older_inspector() -> None:
    (found,) = layers_of(CONVOLUTION)
    assert found.nodes == ["Clip_13", "Conv_9", "QuantizeLinear_7", "w"]
    assert [t.dtype for t in (*found.inputs, *found.outputs)] == ["Int8", "Half"]
    assert [(t.name, t.dims, t.dtype) for t in found.constants] == [
        ("weights", [432], "Int8"),
        ("bias", [16], "Float"),
    ]
    assert found.macs == 2 * 16 * 4 * 4 * 3 * 3 * 3
    assert found.inputs[0].format == WIDE


def test_a_newer_inspector() -> None:
    (found,) = layers_of(NEWER)
    assert (found.nodes, found.constants[0].name, found.inputs[0].dtype, found.tactic) == (
        ["a", "b"],
        "w",
        "Half",
        "t",
    )


@pytest.mark.parametrize("root", ["Layers", "layers", "LayerInfo", "layerInfo", None])
def test_roots(root: str | None) -> None:
    text = json.dumps({root: [NEWER]} if root else [NEWER])
    assert len(parse(text, "file")) == 1


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("Conv_5 + Add_6 + Relu_7", ["Conv_5", "Add_6", "Relu_7"]),
        ("a || b", ["a", "b"]),
        ("a", ["a"]),
        ("PWN(Clip_13)", ["Clip_13"]),
        ("PWN(PWN(a), b)", ["a", "b"]),
        ("PWN(/s/Sigmoid, /m/Mul)", ["/s/Sigmoid", "/m/Mul"]),
        ("w + PWN(a + b) + c", ["w", "a", "b", "c"]),
        ("{ForeignNode[a...b]}", ["{ForeignNode[a...b]}"]),
        ("Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", []),
        ("reshape_after_Gemm_48", []),
        ("copied_squeeze_after_(Unnamed Layer* 803) [ElementWise]", []),
        ("(Unnamed Layer* 3) [Shuffle]", []),
        (
            "MatMul + b:0 + (Unnamed Layer* 37) [Shuffle] + unsqueeze_node_after_b:0 + add",
            ["MatMul", "b:0", "add"],
        ),
        ("[CONV]-[aten.conv]-[/f/0] + [RELU]-[x]", ["[CONV]-[aten.conv]-[/f/0]", "[RELU]-[x]"]),
        ("a) + b", ["a)", "b"]),
        ("a[0] + b", ["a[0]", "b"]),
        ("", []),
        ("a+b", ["a+b"]),
    ],
)
def test_members_of_a_name(name: str, want: list[str]) -> None:
    assert members(name) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Row major linear FP32", "Float"),
        ("Two wide channel vectorized row major FP16 format", "Half"),
        (WIDE, "Int8"),
        ("FP32 NCHW", "Float"),
        ("INT8", "Int8"),
        ("Int32", "Int32"),
        ("Int64", "Int64"),
        ("Bool", "Bool"),
        ("", "unknown"),
        ("BFloat16", "BFloat16"),
        ("Row major linear BF16", "BFloat16"),
        ("UInt8", "UInt8"),
        ("FP8E4M3", "FP8"),
        ("Row major linear FP8 E4M3", "FP8"),
        ("FP4E2M1", "FP4"),
        ("Int4", "Int4"),
        ("Something new", "Something new"),
        ("Channel major FP16 format where channel % 8 == 0", "Half"),
    ],
)
def test_datatypes(text: str, want: str) -> None:
    assert datatype(text) == want


def test_what_is_odd_is_shown_and_never_dropped() -> None:
    found = layers_of(
        "a + b",
        {},
        7,
        {"Name": None, "Inputs": "x", "Outputs": [3, {"Dimensions": "?"}]},
        {"Name": "\ud800"},
    )
    assert [each.name for each in found][:3] == ["a + b", "", "7"]
    assert found[0].nodes == ["a", "b"]
    assert found[2].type == UNREADABLE
    assert found[3].outputs[0].dtype == "unknown"
    assert found[4].model_dump_json()


@pytest.mark.parametrize("text", ["", "{}", "3", '{"Layers": 3}', "[" * 100_000, '{"Layers": {}}'])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ForgeError, match="file: "):
        parse(text, "file")


def test_times_by_name_and_in_order() -> None:
    rows = [
        {"count": 10},
        {"name": "a", "timeMs": 30, "averageMs": 3, "medianMs": 2, "percentage": 50},
        {"name": "a", "averageMs": 1},
        {"name": "c", "averageMs": 5},
    ]
    times = profile(json.dumps(rows), "file")
    found, rest = with_times([layer("a"), layer("b"), layer("a")], times)
    assert [each.time_ms for each in found] == [3, None, 1]
    assert rest == {"c": 5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "{}x",
        '[{"name": "a"}]',
        '[{"name": "a", "averageMs": -1}]',
        '[{"name": "a", "averageMs": NaN}]',
        "[3]",
    ],
)
def test_other_profiles_are_refused(text: str) -> None:
    with pytest.raises(ForgeError, match="not a profile"):
        profile(text, "file")
