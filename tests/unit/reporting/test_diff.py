"""Two engines side by side."""

from __future__ import annotations

import pytest

from tests.unit.reporting.rows import layer, t
from trtforge.errors import ForgeError, GateError
from trtforge.reporting.diff import check_limits, compare, summarize
from trtforge.reporting.model import Layer, LayerReport, Node


def report(*layers: Layer, nodes: str = "", **ops: str) -> LayerReport:
    known = {**dict.fromkeys(nodes.split(), "Relu"), **ops}
    return LayerReport(
        layers=list(layers),
        nodes=[Node(name=name, op=op, place="layer") for name, op in known.items()],
    )


def test_an_engine_and_itself() -> None:
    one = report(
        layer("a", "x y"), layer("b", "y"), layer("b", "y"), layer("c"), layer("c"), nodes="x y"
    )
    found = compare(one, one)
    assert found.empty
    assert summarize(found) == "5 -> 5 layers: no difference"


def test_precision_kernel_and_q_dq() -> None:
    before = report(
        layer("__myl_a_myl0_1", "conv relu", precision="Half", tactic="k1"), nodes="conv relu"
    )
    after = report(
        layer("__myl_b_myl0_9", "conv relu q", precision="Int8", tactic="k2"),
        nodes="conv relu",
        q="QuantizeLinear",
    )
    (change,) = compare(before, after).changed
    assert (change.layer, change.precision, change.tactic) == (
        "conv",
        ("Half", "Int8"),
        ("k1", "k2"),
    )
    assert not compare(before, after).fused


def test_fused_anew_and_no_longer() -> None:
    apart = report(layer("a", "x"), layer("b", "y"), nodes="x y")
    fused = report(layer("ab", "x y"), nodes="x y")
    found = compare(apart, fused)
    assert (found.fused, found.unfused) == ({"x": ["y"], "y": ["x"]}, {})
    assert (found.appeared, found.vanished) == ([], ["y"])
    back = compare(fused, apart)
    assert (back.fused, back.unfused, back.appeared) == ({}, {"x": ["y"], "y": ["x"]}, ["y"])


def test_places_of_nodes() -> None:
    before = LayerReport(
        layers=[layer("a", "x")], nodes=[Node(name="x", op="Concat", place="layer")]
    )
    after = LayerReport(layers=[], nodes=[Node(name="x", op="Concat", place="folded")])
    assert compare(before, after).moved == {"x": ("layer", "folded")}


def test_nameless_layers_go_by_name_and_shape() -> None:
    one = report(
        layer("__myl_Move_myl0_7", writes=[t("a", (1, 2))]),
        layer("__myl_Move_myl0_9", writes=[t("b", (1, 3))]),
    )
    other = report(layer("__myl_Move_myl0_3", writes=[t("c", (1, 3))]))
    found = compare(one, other)
    assert (found.appeared, found.vanished) == ([], ["__myl_Move_myl0_7"])


def test_layers_that_wait_do_not_count() -> None:
    assert compare(report(), report(layer("s", type="signal", role="sync"))).empty


@pytest.mark.parametrize(("after", "changed"), [(1.0, 0), (1.01, 0), (1.5, 1), (0.5, 1)])
def test_times_within_noise_are_no_change(after: float, changed: int) -> None:
    one, other = report(layer("a", "x", time_ms=1.0)), report(layer("a", "x", time_ms=after))
    assert len(compare(one, other).changed) == changed


def test_gate_on_time() -> None:
    found = compare(report(layer("a", time_ms=1.0)), report(layer("a", time_ms=1.05)))
    check_limits(found, 6.0, False)
    with pytest.raises(GateError, match=r"5.0 %"):
        check_limits(found, 3.0, False)
    with pytest.raises(ForgeError, match="no times"):
        check_limits(compare(report(layer("a")), report(layer("a", time_ms=1.0))), 3.0, False)


def test_gate_on_reformats() -> None:
    clean, copied = report(layer("a", "x")), report(layer("a", "x"), layer("r", role="copy"))
    check_limits(compare(copied, copied), None, True)
    check_limits(compare(copied, clean), None, True)
    with pytest.raises(GateError, match="1 new layers"):
        check_limits(compare(clean, copied), None, True)
    became = compare(clean, report(layer("a", "x", role="convert")))
    with pytest.raises(GateError):
        check_limits(became, None, True)


def test_without_graphs_members_are_compared() -> None:
    one, other = (
        LayerReport(layers=[layer("a + b", "a b")]),
        LayerReport(layers=[layer("a", "a"), layer("b", "b")]),
    )
    assert compare(one, other).unfused == {"a": ["b"], "b": ["a"]}
