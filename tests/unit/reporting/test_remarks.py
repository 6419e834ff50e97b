"""What stands out, and what to do about it."""

from __future__ import annotations

from tests.unit.reporting.rows import layer, t
from trtforge.reporting.model import UNREADABLE, EngineInfo, Layer, LayerReport, Node, Remark
from trtforge.reporting.remarks import remarks


def node(name: str, op: str = "Conv", **more: object) -> Node:
    return Node.model_validate(
        {"name": name, "op": op, "place": "layer", "macs": 10, "learned": op == "Conv", **more}
    )


def conv(name: str, precision: str, **more: object) -> Layer:
    return layer(f"layer-{name}", name, macs=10, precision=precision, **more)  # type: ignore[arg-type]


def found(layers: list[Layer], nodes: list[Node], title: str, **engine: object) -> Remark:
    report = LayerReport(layers=layers, nodes=nodes, engine=EngineInfo.model_validate(engine))
    return next(each for each in remarks(report) if title in each.title)


def titles(layers: list[Layer], nodes: list[Node], **engine: object) -> list[str]:
    return [
        each.title
        for each in remarks(
            LayerReport(layers=layers, nodes=nodes, engine=EngineInfo.model_validate(engine))
        )
    ]


def test_int8_that_the_builder_never_uses() -> None:
    one = found(
        [conv("a", "Half"), conv("b", "Half")],
        [node("a", quantized=True), node("b", quantized=True)],
        "2 of 2 quantized operators",
        sm=75,
        backend="tensorrt-rtx",
    )
    assert "SM75" in one.why
    assert "--fp16" in one.act
    assert one.layers == [0, 1]


def test_int8_that_is_lost_here_and_there() -> None:
    nodes = [node(name, quantized=True) for name in "abc"]
    one = found(
        [conv("a", "Int8"), conv("b", "Int8"), conv("c", "Half")], nodes, "1 quantized operator "
    )
    assert one.layers == [2]
    assert 'keep: ["c"]' in one.act


def test_operators_without_q_dq() -> None:
    nodes = [node("a", reads_input=True), node("b", quantized=True), node("c")]
    layers = [conv("a", "Half"), conv("b", "Int8"), conv("c", "Half")]
    assert found(layers, nodes, "at the image input").layers == [0]
    kept = found(layers, nodes, "without Q/DQ")
    assert kept.layers == [2]
    assert "precision.keep" in kept.act


def test_a_float_engine_has_no_such_findings_but_one_that_says_so() -> None:
    assert titles([conv("a", "Float")], [node("a")]) == ["The engine computes in FP32"]
    assert titles([conv("a", "Half")], [node("a")]) == []
    assert titles([conv("a", "Float")], [node("a")], backend="onnxruntime") == []


def test_conversions_name_the_neighbours_that_cause_them() -> None:
    x, y = t("x", dtype="Int8"), t("y", dtype="Half")
    layers = [
        conv("a", "Int8", writes=[x]),
        layer("r", reads=[x], writes=[y], role="convert", input_bytes=128, output_bytes=256),
        conv("b", "Half", reads=[y]),
    ]
    one = found(layers, [node("a", quantized=True), node("b")], "convert around")
    assert one.layers == [1]
    assert "r (Int8 to Half, 384 B) between a and b" in one.why
    assert "heads: int8" in one.act


def test_copies_are_told_apart_from_conversions() -> None:
    x, y = t("x", form="NHWC"), t("y", form="Linear")
    layers = [
        conv("a", "Half", writes=[x]),
        layer("r", reads=[x], writes=[y], role="copy"),
        conv("b", "Half", reads=[y]),
    ]
    one = found(layers, [node("a"), node("b")], "to copy or to change the layout")
    assert "another layout" in one.why
    assert one.act == ""


def test_int8_that_writes_float_for_a_quantizing_kernel() -> None:
    wide, narrow = t("x", dtype="Float"), t("y", dtype="Int8")
    layers = [
        conv("a", "Int8", writes=[wide], output_bytes=100),
        layer("k", "silu", reads=[wide], writes=[narrow]),
    ]
    one = found(layers, [node("a", quantized=True), node("silu", "Sigmoid")], "with float outputs")
    assert "Sigmoid" in one.why
    assert "100 B" in one.title


def test_weights_that_a_batch_would_share() -> None:
    layers = [conv("a", "Half", weight_bytes=900, input_bytes=50, output_bytes=50)]
    assert "--batch" in found(layers, [node("a")], "weights").act
    assert titles(layers, [node("a")], batch=8) == []


def test_what_the_report_lost_is_said() -> None:
    report = LayerReport(
        layers=[layer("?", type=UNREADABLE)],
        nodes=[node("a", place="unaccounted", learned=False)],
        unmatched_times={"x": 1.0},
    )
    assert {each.title for each in remarks(report)} == {
        "1 unreadable row in the builder's list",
        "1 ONNX node not accounted for",
        "1 profiled name without a layer",
    }


def test_engines_built_without_details() -> None:
    assert "detailed" in found([layer("a + b", "a b", type="")], [], "only the name").act


def test_those_one_can_act_on_come_first() -> None:
    x, y = t("x"), t("y")
    layers = [conv("a", "Float"), layer("r", reads=[x], writes=[y], role="copy", input_bytes=10**9)]
    acts = [bool(each.act) for each in remarks(LayerReport(layers=layers, nodes=[node("a")]))]
    assert acts == [True, False]
